/** What `deno task train` says to bad input: one sentence with the place and the remedy, a failure code, no stack trace. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { joinPath } from "../../lab/bytes.ts";
import { assertExplained, ground, tiny, train } from "./training.ts";

Deno.test("bad flags", async () => {
  for (
    const [args, ...words] of [
      ["--ppo.klCoeff 1", "--ppo.klCoeff", "the nearest is --ppo.klCoef"],
      ["--bogus", "--bogus", "--help"],
      ["--ppo.klCoef much", "--ppo.klCoef", "a number", '"much"'],
      ["--sft.batch 0", "--sft.batch", "from 1"],
      ["--seed", "--seed needs a value"],
      ["--stages ppo,dance", "--stages", "preprocess, sft, reward, ppo, evaluate", "dance"],
      ["--preset demo --ppo.batch 99999", "ppo.batch is 99999", "ppo.episodes"],
      ["--preset demo --sft.batch 9999", "too few for one batch", "--sft.batch"],
      ["--stages=", "--stages names none of preprocess, sft"],
      ["hello", '"hello"', "--help"],
    ]
  ) {
    const found = await train(args.split(" "));
    assertExplained(found, ...words);
  }
});

Deno.test("bad places, models and data", async (t) => {
  const place = await ground();
  const out = joinPath(place.folder, "out");
  let copies = 0;
  /** The ground with one file changed; `change` gets its bytes, and undefined removes it. */
  const changed = async (file: string, change: (bytes: Uint8Array) => Uint8Array | undefined) => {
    const folder = joinPath(place.folder, `copy-${copies++}`);
    await copyFolder(place.model, joinPath(folder, "model"));
    await copyFolder(place.data, joinPath(folder, "data"));
    const path = joinPath(folder, file);
    const bytes = change(await Deno.readFile(path));
    if (bytes) await Deno.writeFile(path, bytes);
    else await Deno.remove(path);
    return { model: joinPath(folder, "model"), data: joinPath(folder, "data"), path };
  };
  const asText = (change: (text: string) => string) => (bytes: Uint8Array) =>
    new TextEncoder().encode(change(new TextDecoder().decode(bytes)));
  /** Changes the first line of a JSONL file. */
  const firstRow = (change: (row: Row) => unknown) =>
    asText((text) => {
      const [first, ...rest] = text.split("\n");
      return [JSON.stringify(change(JSON.parse(first))), ...rest].join("\n");
    });
  const refuses = (name: string, body: () => Promise<void>) => t.step(name, body);

  await refuses("a run directory where a file is, or in a place that takes none", async () => {
    const file = joinPath(place.folder, "file");
    await Deno.writeTextFile(file, "");
    assertExplained(await train(tiny(place, file)), file, "choose another path");
    assertExplained(await train(tiny(place, joinPath(file, "run"))), file, "check the path");
    if (Deno.build.os === "linux") assertExplained(await train(tiny(place, "/proc/run")), "/proc/run");
  });

  await refuses("folders of model and data that are not there", async () => {
    const none = joinPath(place.folder, "none");
    assertExplained(
      await train(tiny({ ...place, model: none }, out)),
      `no folder ${none}`,
      "check --model",
    );
    assertExplained(await train(tiny({ ...place, data: none }, out)), `no folder ${none}`, "check --data");
    const elsewhere = [...tiny(place, out), "--comparisons", none];
    assertExplained(await train(elsewhere), `no folder ${none}`, "check --comparisons");
  });

  for (
    const [name, file, change, ...words] of [
      [
        "config.json that is no JSON",
        "model/config.json",
        asText((text) => text.slice(0, 30)),
        "config.json",
      ],
      [
        "config.json of another kind",
        "model/config.json",
        asText(() => '{"model_type":"bert"}'),
        "config.json",
      ],
      [
        "weights cut short",
        "model/model.safetensors",
        (bytes) => bytes.subarray(0, 2000),
        "model.safetensors",
      ],
      ["no weights", "model/model.safetensors", () => undefined, "holds no model", "check the path"],
      [
        "a tensor under another name",
        "model/model.safetensors",
        renameTensor("model.norm.weight", "model.norm.weighs"),
        '"model.norm.weight" is missing',
        "config.json",
      ],
      ["NaN weights", "model/model.safetensors", lastNumberNaN, "NaN", "cannot be used"],
      [
        "tokenizer.json that is no JSON",
        "model/tokenizer.json",
        (bytes) => bytes.subarray(0, 99),
        "tokenizer.json",
      ],
      ["tokenizer.json that is no tokenizer", "model/tokenizer.json", asText(() => "{}"), "tokenizer.json"],
      [
        "a tokenizer with ids beyond the embedding",
        "model/tokenizer.json",
        asText((text) => {
          const json = JSON.parse(text);
          json.added_tokens.push({ ...json.added_tokens[0], id: 5000, content: "<|far|>" });
          return JSON.stringify(json);
        }),
        "tokenizer.json uses ids up to 5000",
        "the tokenizer that belongs to this model",
      ],
      ["no test.jsonl", "data/test.jsonl", () => undefined, "test.jsonl", "does not exist"],
      [
        "a row without summary",
        "data/train.jsonl",
        firstRow(({ summary: _, ...row }) => row),
        'train.jsonl:1 has no "summary"',
      ],
      [
        "a row that is cut",
        "data/valid.jsonl",
        (bytes) => bytes.subarray(0, bytes.length - 40),
        "valid.jsonl:4",
      ],
      [
        "a comparison without choice",
        "data/comparisons/batch1.json",
        firstRow(({ choice: _, ...row }) => row),
        'batch1.json:1 has no "choice"',
      ],
      [
        "a blank post",
        "data/train.jsonl",
        firstRow((row) => ({ ...row, id: "t3_blank", post: " \n" })),
        "Post t3_blank is empty; leave it out",
      ],
      [
        "a post that cannot be truncated",
        "data/train.jsonl",
        firstRow((row) => ({ ...row, id: "t3_long", title: "no end ".repeat(200) })),
        "Post t3_long cannot be truncated",
        "shorten the title",
      ],
      [
        "half a surrogate pair",
        "data/train.jsonl",
        asText((text) => text.replace('"post":"', '"post":"\\ud83d ')),
        "not valid Unicode",
      ],
      [
        "a summary beyond the limit",
        "data/train.jsonl",
        firstRow((row) => ({ ...row, id: "t3_wordy", summary: "so many words ".repeat(30) })),
        "t3_wordy",
        "--preprocess.responseTokens",
      ],
    ] as [string, string, (bytes: Uint8Array) => Uint8Array | undefined, ...string[]][]
  ) {
    await refuses(name, async () => {
      const ground = await changed(file, change);
      assertExplained(await train(tiny(ground, out)), ...words);
      for (const finished of ["models/sft", "report.html"]) {
        assert(!await Deno.stat(joinPath(out, finished)).then(() => true, () => false), finished);
      }
    });
  }

  await refuses("a stage whose predecessors have not run, or ran with other settings", async () => {
    const fresh = joinPath(place.folder, "fresh");
    assertExplained(
      await train(tiny(place, fresh, "--stages", "ppo")),
      "ppo needs",
      "which stage preprocess makes",
    );
    assertEquals((await train(tiny(place, fresh, "--stages", "preprocess"))).code, 0);
    const other = tiny(place, fresh, "--stages", "sft", "--seed", "7");
    assertExplained(await train(other), "sft needs stage preprocess", "other settings");
  });

  await refuses("a machine without an adapter", async () => {
    const nothing = "/nonexistent";
    const env = {
      VK_ICD_FILENAMES: nothing,
      VK_DRIVER_FILES: nothing,
      // Without Vulkan, Deno's own WebGPU would make do with OpenGL.
      __EGL_VENDOR_LIBRARY_FILENAMES: nothing,
      LIBGL_DRIVERS_PATH: nothing,
    };
    for (const gpu of ["native", "dawn"]) {
      const found = await train(tiny(place, joinPath(place.folder, "no-gpu"), "--gpu", gpu), { env });
      assertExplained(found, "no WebGPU adapter", "sh setup.sh gpu");
    }
  });

  await Deno.remove(place.folder, { recursive: true });
});

type Row = Record<string, unknown>;

/** Another name of the same length in a safetensors header. */
function renameTensor(from: string, to: string): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
    assert(header.includes(`"${from}"`) && from.length === to.length);
    const changed = bytes.slice();
    changed.set(new TextEncoder().encode(header.replace(`"${from}"`, `"${to}"`)), 8);
    return changed;
  };
}

function lastNumberNaN(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  new DataView(changed.buffer).setFloat32(changed.length - 4, NaN, true);
  return changed;
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(joinPath(from, name), joinPath(to, name));
    else await Deno.copyFile(joinPath(from, name), joinPath(to, name));
  }
}
