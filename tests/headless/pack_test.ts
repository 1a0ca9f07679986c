import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { isPacked, isTaken, offlineCommand, offlineConfig, pack } from "../../headless/pack.ts";

const repository = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const onLinux = Deno.build.target === "x86_64-unknown-linux-gnu";

Deno.test("the kit carries Dawn for x64 Linux and for nothing else", () => {
  const dist = ".deno/webgpu@0.6.2/node_modules/webgpu/dist";
  assert(isPacked(`${dist}/linux-x64/dawn.node`));
  for (const other of ["linux-arm64", "darwin-universal", "win32-x64"]) {
    assert(!isPacked(`${dist}/${other}/dawn.node`));
  }
  assert(isPacked(".deno/webgpu@0.6.2/node_modules/webgpu/index.js"));
});

Deno.test("native parts of packages that only load, but never run, stay behind; Deno's markers do not", () => {
  assert(
    !isPacked(
      ".deno/onnxruntime-node@1.30.0/node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1",
    ),
  );
  assert(
    !isPacked(".deno/@img+sharp-linux-x64@0.35.5/node_modules/@img/sharp-linux-x64/lib/sharp-linux-x64.node"),
  );
  assert(isPacked(".deno/onnxruntime-node@1.30.0/.initialized"));
  for (const libc of ["gnu", "musl"]) {
    const binding = `@rolldown/binding-linux-x64-${libc}`;
    const folder = `.deno/${binding.replace("/", "+")}@1.2.19/node_modules/${binding}`;
    assert(!isPacked(`${folder}/rolldown-binding.linux-x64-${libc}.node`));
    const css = `lightningcss-linux-x64-${libc}`;
    assert(!isPacked(`.deno/${css}@1.33.0/node_modules/${css}/lightningcss.linux-x64-${libc}.node`));
  }
  const web = ".deno/onnxruntime-web@1.31.0/node_modules/onnxruntime-web";
  for (const file of ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"]) {
    assert(isPacked(`${web}/dist/${file}`));
  }
  for (const file of ["ort.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort.webgpu.bundle.min.mjs.map"]) {
    assert(!isPacked(`${web}/dist/${file}`));
  }
  assert(isPacked(".deno/onnxruntime-common@1.30.0/node_modules/onnxruntime-common/dist/cjs/index.js"));
});

Deno.test("the demo's trained models stay behind, its base model and data come along", () => {
  for (const name of ["sft", "reward", "ppo"]) assert(!isTaken(`public/demo/${name}/model.safetensors`));
  for (const path of ["base/model.safetensors", "posts-train.jsonl.gz", "models.json"]) {
    assert(isTaken(`public/demo/${path}`));
  }
  assert(isTaken("lab/stages/ppo.ts"));
});

Deno.test("every task's own Deno command becomes one that fetches nothing, and nothing else in it changes", () => {
  assertEquals(
    offlineCommand("deno test -A tests && deno run -A tests/run.ts --gpu dawn && deno fmt --check"),
    "deno test --cached-only -A tests && deno run --cached-only -A tests/run.ts --gpu dawn && deno fmt --check",
  );
  const config = {
    tasks: { a: "deno run a.ts", b: { description: "deno run, told", command: "deno bench" } },
    lock: true,
  };
  assertEquals(JSON.parse(offlineConfig(JSON.stringify(config))), {
    tasks: {
      a: "deno run --cached-only a.ts",
      b: { description: "deno run, told", command: "deno bench --cached-only" },
    },
    lock: true,
  });
});

Deno.test("a folder with something in it is left as it is", async () => {
  const out = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${out}/mine.txt`, "mine");
    const refusal = await assertRejects(() => pack(repository, out), Error);
    assertMatch(refusal.message, onLinux ? /not empty|not a git checkout/ : /x64 Linux/);
    assertEquals([...Deno.readDirSync(out)].map((entry) => entry.name), ["mine.txt"]);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});

const packable = onLinux && await Deno.stat(`${repository}/.git`).then(() => true, () => false);
Deno.test({
  name:
    "the kit loads every pinned package with an empty home, nothing in reach, and a registry that says no",
  ignore: !packable, // a kit cannot pack itself again
  async fn() {
    const out = await Deno.makeTempDir();
    try {
      const kit = await pack(repository, `${out}/kit`);
      assert(kit.deno > 50e6 && kit.repository > 0 && kit.packages.size > 10);
      await Deno.mkdir(`${out}/home`);
      const config = `${out}/kit/precis/deno.json`;
      const probe = `import { create } from "webgpu";
        import { AutoTokenizer } from "@huggingface/transformers";
        import { parseArgs } from "deno-std/cli/parse_args.js";
        console.log([create, AutoTokenizer.from_pretrained, parseArgs].map((it) => typeof it).join(" "));`;
      await Deno.writeTextFile(`${out}/kit/precis/probe.ts`, probe);
      const tasks = { tasks: { probe: offlineCommand("deno run -A probe.ts") } };
      await Deno.writeTextFile(
        config,
        JSON.stringify({ ...JSON.parse(await Deno.readTextFile(config)), ...tasks }),
      );

      const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
      const env = { PATH, HOME: `${out}/home`, NO_COLOR: "1", ...driverVariables() };
      const command = new Deno.Command("sh", { args: [`${out}/kit/run.sh`, "probe"], env, clearEnv: true });
      const { stdout, stderr } = await command.output();
      const told = new TextDecoder().decode(stderr);
      assertEquals(new TextDecoder().decode(stdout).trim(), "function function function", told);
      assert(told.includes(`${out}/kit/bin/deno`), told);
      assert(!told.includes("Download"), told);
      assertEquals([...Deno.readDirSync(`${out}/home`)], []);
    } finally {
      await Deno.remove(out, { recursive: true });
    }
  },
});

/** The variables by which this machine may name its Vulkan driver; the kit brings none of its own. */
function driverVariables(): Record<string, string> {
  const names = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "XDG_DATA_HOME"];
  return Object.fromEntries(names.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []));
}
