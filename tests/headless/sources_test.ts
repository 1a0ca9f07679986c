/** `deno task train` with model and data from a Hub on loopback: before anything else, pinned in run.json, and kept by --resume. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, joinPath, memoryFiles } from "../../lab/bytes.ts";
import { silent } from "../../lab/progress.ts";
import { diskFiles } from "../../headless/files.ts";
import { batchFiles } from "../../headless/openai_batches.ts";
import { changedBatches, digestSources, fetchSources, pinnedSources } from "../../headless/sources.ts";
import { testRuntime } from "../kernels/testing.ts";
import { assertExplained, ground, tiny, train } from "./training.ts";
import { type HubRepository, serveHub } from "./hub_server.ts";

Deno.test("every file of a data folder is an input of the stages", async () => {
  const place = await ground();
  const digests = async (comparisons = "") => {
    const config = { model: place.model, data: place.data, comparisons };
    return await digestSources(diskFiles(), await fetchSources(config, undefined, silent));
  };
  const before = await digests();
  assertEquals(Object.keys(before).filter((name) => name.startsWith("data/")).sort(), [
    "data/comparisons/batch1.json",
    "data/test.jsonl",
    "data/train.jsonl",
    "data/valid.jsonl",
  ]);
  await Deno.writeTextFile(joinPath(place.data, "comparisons/batch1.json"), "{}");
  const after = await digests();
  const changed = Object.keys(before).filter((name) => after[name] !== before[name]);
  assertEquals(changed, ["data/comparisons/batch1.json"]);
  const elsewhere = await digests(joinPath(place.data, "comparisons"));
  assertEquals(elsewhere["comparisons/batch1.json"], after["data/comparisons/batch1.json"]);
  await Deno.remove(place.folder, { recursive: true });
});

Deno.test("what run.json pins is a commit, or it is damaged", async () => {
  const read = (json: string) => pinnedSources(memoryFiles({ "run/run.json": json }), "run");
  const sources = { model: { name: "a/b", commit: "1".repeat(40) } };
  assertEquals(await read(JSON.stringify({ sources })), sources);
  for (const nothing of ["null", "{}", "{", '{"sources":null}']) assertEquals(await read(nothing), undefined);
  assertEquals(await pinnedSources(memoryFiles({}), "run"), undefined);
  for (
    const bad of [
      { model: null },
      { data: { name: "a/b" } },
      { model: { name: "a/b", commit: "../../x" } },
      "main",
    ]
  ) {
    await assertRejects(
      () => read(JSON.stringify({ sources: bad })),
      DamagedFileError,
      "which commit of the",
    );
  }
});

Deno.test("batches that an earlier run found otherwise are told, by file, with both hashes", async () => {
  const address = "https://somewhere/comparisons";
  const run = (startedAt: string, name: string, inputs: Record<string, string>) =>
    JSON.stringify({ startedAt, sources: { comparisons: { name, commit: "1".repeat(40) } }, inputs });
  const [old, now] = ["a".repeat(64), "b".repeat(64)];
  const files = memoryFiles({
    "runs/first/run.json": run("2026-01-01T00:00:00Z", address, { "comparisons/batch3.json": now }),
    "runs/second/run.json": run("2026-02-01T00:00:00Z", address, {
      "comparisons/batch3.json": old,
      "comparisons/batch4.json": old,
      "data/train.jsonl": old,
    }),
    "runs/third/run.json": run("2026-03-01T00:00:00Z", "https://elsewhere/", {
      "comparisons/batch4.json": now,
    }),
    "runs/broken/run.json": "{",
  });
  const said = (inputs: Record<string, string>, name = address) =>
    changedBatches(files, "runs/new", { sources: { comparisons: { name, commit: "2".repeat(40) } }, inputs });
  const all = { "comparisons/batch4.json": now, "data/train.jsonl": now, "comparisons/batch5.json": now };
  assertEquals(await said(all), [
    "1 of OpenAI's batches of comparisons is not what runs/second found on 2026-02-01: batch4.json (the first has SHA-256 " +
    "bbbbbbbbbbbb…, it had aaaaaaaaaaaa…). No hash of them has been published.",
  ]);
  assertMatch(
    (await said({ ...all, "comparisons/batch3.json": now }))[0],
    /^2 of .* are not .*batch4\.json, batch3\.json/,
  );
  assertEquals(await said({ "comparisons/batch3.json": old, "comparisons/batch4.json": old }), []);
  assertEquals(await said(all, "some/dataset"), []);
  assertEquals(await changedBatches(files, "alone", { inputs: all }), []);
});

Deno.test("a run whose model, posts and comparisons are fetched", async (t) => {
  const place = await ground();
  const home = joinPath(place.folder, "home"), out = joinPath(place.folder, "out");
  const read = (path: string) => Deno.readFile(joinPath(place.folder, path));
  const files = async (folder: string, names: string[]) =>
    Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(`${folder}/${name}`)])));
  const first = "1".repeat(40), second = "2".repeat(40);
  const modelFiles = await files("model", [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  const model: HubRepository = {
    refs: { main: first },
    commits: { [first]: { files: modelFiles, lfs: ["model.safetensors", "tokenizer.json"] } },
  };
  const posts: HubRepository = {
    refs: { main: first },
    commits: { [first]: { files: await files("data", ["train.jsonl", "valid.jsonl", "test.jsonl"]) } },
  };
  const batch = await read("data/comparisons/batch1.json");
  const plain = Object.fromEntries(
    batchFiles.map((name) => [`/comparisons/${name}`, name === "batch3.json" ? batch : new Uint8Array()]),
  );
  const server = serveHub({ "models/some/model": model, "datasets/some/posts": posts }, { plain });
  const env = { HF_HOME: home, HF_ENDPOINT: server.endpoint, HF_TOKEN: "" };
  const comparisons = `${server.endpoint}/comparisons`;
  const flags = (stages: string) => [
    ...tiny({ model: "some/model", data: "some/posts" }, out, "--comparisons", comparisons),
    "--stages",
    stages,
  ];
  const sources = async () => JSON.parse(await Deno.readTextFile(joinPath(out, "run.json"))).sources;
  const pinned = {
    model: { name: "some/model", commit: first },
    data: { name: "some/posts", commit: first },
  };

  await t.step("notes say what came from where, and run.json which commits", async () => {
    const { code, out: said, err } = await train(flags("preprocess"), { env });
    assertEquals([code, err], [0, ""]);
    const flat = said.replace(/\s+/g, " ");
    assertMatch(flat, /Model some\/model: commit 1111111 of main, .* fetched from 127\.0\.0\.1/);
    assertMatch(flat, /Dataset some\/posts: commit 1111111 of main, .* fetched from/);
    assertMatch(flat, /Comparisons: 23 batches, .* fetched from/);
    assertMatch(said, /✓ fetch +[\d.]+ KiB in .*some\/model/);
    assert(flat.indexOf("Comparisons:") < flat.indexOf("Adapter:"), "before the device is opened");
    const found = await sources();
    assertMatch(found.comparisons.commit, /^[0-9a-f]{40}$/);
    assertEquals(found, { ...pinned, comparisons: { name: comparisons, commit: found.comparisons.commit } });
  });

  await t.step(
    "once main has moved, the run in that directory keeps its commit, another takes the new one",
    async () => {
      const moved = { ...modelFiles, "generation_config.json": new TextEncoder().encode("{}") };
      // What another program has fetched of the same commit is no input of ours.
      await Deno.writeTextFile(joinPath(home, `hub/models--some--model/snapshots/${first}/vocab.json`), "{}");
      model.commits[second] = { files: moved, lfs: ["model.safetensors", "tokenizer.json"] };
      model.refs.main = second;
      for (const args of [flags("preprocess"), ["--resume", "--out", out, "--stages", "preprocess"]]) {
        const { code, out: said, err } = await train(args, { env });
        assertEquals([code, err], [0, ""]);
        assertMatch(
          said.replace(/\s+/g, " "),
          /commit 1111111 \(as in run\.json, wherever main is now\), in the cache/,
        );
        assert(said.includes("skipped"), said);
        assertEquals((await sources()).model, pinned.model);
      }
      const elsewhere = [...flags("preprocess"), "--out", joinPath(place.folder, "other")];
      const { out: said } = await train(elsewhere, { env });
      assertMatch(said.replace(/\s+/g, " "), /commit 2222222 of main/);
    },
  );

  await t.step("what others have put beside the posts is not read", async () => {
    const snapshot = joinPath(home, `hub/datasets--some--posts/snapshots/${first}`);
    const strange = joinPath(snapshot, "train-extra.jsonl");
    await Deno.writeTextFile(strange, "no post\n");
    const { code, err } = await train(flags("preprocess"), { env });
    assertEquals([code, err], [0, ""]);
    await Deno.remove(strange);
  });

  await t.step(
    "offline, all of it is in the cache; with an empty one the sentence says what is missing",
    async () => {
      const met = server.met.length;
      const offline = { ...env, HF_HUB_OFFLINE: "1" };
      const { code, err } = await train(["--resume", "--out", out, "--stages", "preprocess"], {
        env: offline,
      });
      assertEquals([code, err], [0, ""]);
      const elsewhere = { ...offline, HF_HOME: joinPath(home, "empty") };
      assertExplained(
        await train(flags("preprocess"), { env: elsewhere }),
        "HF_HUB_OFFLINE is set",
        "some/model",
      );
      assertEquals(server.met.length, met);
    },
  );

  await t.step(
    "what the server has changed meanwhile is told in a new run, and the old one keeps to its own",
    async () => {
      plain["/comparisons/batch3.json"] = new TextEncoder().encode(new TextDecoder().decode(batch) + "\n");
      const fresh = { ...env, HF_HOME: joinPath(home, "fresh") };
      const { code, out: said, err } = await train([
        ...flags("preprocess"),
        "--out",
        joinPath(place.folder, "later"),
      ], {
        env: fresh,
      });
      assertEquals([code, err], [0, ""]);
      assertMatch(
        said.replace(/\s+/g, " "),
        /1 of OpenAI's batches of comparisons is not what .*: batch3\.json \(/,
      );
      const record = JSON.parse(await Deno.readTextFile(joinPath(place.folder, "later/run.json")));
      assertMatch(record.inputs["comparisons/batch3.json"], /^[0-9a-f]{64}$/);
      assertEquals(record.notes.filter((note: string) => note.includes("OpenAI's batches of")).length, 1);
      assertExplained(
        await train(["--resume", "--out", out], { env: fresh }),
        "are not those that this run began with",
      );
    },
  );

  await t.step("generate takes the same names, and its output stays JSON", async () => {
    const script = new URL("../../headless/generate.ts", import.meta.url).pathname;
    const args = ["--model", "some/model@main", "--text", "A post.", "--json", "--responseTokens", "3"];
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", script, ...args, "--gpu", testRuntime],
      env: { ...env, NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert(success, said);
    assertMatch(said.replace(/\s+/g, " "), /Model some\/model: commit 2222222 of main, in the cache/);
    const { models } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(models[0].folder, joinPath(home, `hub/models--some--model/snapshots/${second}`));
  });

  await t.step("the recipe's own names are what --preset spark asks for", async () => {
    const spark = ["--preset", "spark", "--out", joinPath(place.folder, "spark")];
    assertExplained(await train(spark, { env }), "There is no model Qwen/Qwen2.5-0.5B on 127.0.0.1");
    assertEquals(server.met.some(({ path }) => path === "/api/models/Qwen/Qwen2.5-0.5B/revision/main"), true);
  });

  await server.stop();
  await Deno.remove(place.folder, { recursive: true });
});
