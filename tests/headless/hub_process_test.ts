/** Fetching from outside: killed in the middle, two at once, a full disk, and what the environment says. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { hubSettings } from "../../headless/hub_settings.ts";
import { filesUnder } from "../../headless/hub_cache.ts";
import { type HubServer, serveHub } from "./hub_server.ts";

const text = (value: string) => new TextEncoder().encode(value);
const weights = Uint8Array.from({ length: 400_000 }, (_, i) => (i * 2654435761) >>> 11);
const commit = "a".repeat(40);
const repositories = {
  "models/Qwen/Tiny": {
    refs: { main: commit },
    commits: {
      [commit]: {
        files: {
          "config.json": text("{}"),
          "tokenizer.json": text("{ }"),
          "tokenizer_config.json": text("{  }"),
          "model.safetensors": weights,
        },
        lfs: ["model.safetensors"],
      },
    },
  },
};

interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** Fetches Qwen/Tiny in a process of its own. @param watch is shown what it has said so far, whenever there is more */
async function fetchTiny(
  server: HubServer,
  home: string,
  watch: (said: string, child: Deno.ChildProcess) => void = () => {},
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--no-check",
      new URL("hub_fetch.ts", import.meta.url).pathname,
      "model",
      "Qwen/Tiny",
    ],
    env: { HF_HOME: home, HF_ENDPOINT: server.endpoint, HF_TOKEN: "" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let err = "";
  const reading = (async () => {
    for await (const more of child.stderr.pipeThrough(new TextDecoderStream())) {
      err += more;
      watch(err, child);
    }
  })();
  const out = await new Response(child.stdout).text();
  await reading;
  return { code: (await child.status).code, out, err };
}

async function withHub(body: (server: HubServer, home: string) => Promise<void>): Promise<void> {
  const server = serveHub(repositories);
  const home = await Deno.makeTempDir({ prefix: "precis-hub-" });
  try {
    await body(server, home);
  } finally {
    await server.stop();
    await Deno.remove(home, { recursive: true });
  }
}

const rangesOf = (server: HubServer) =>
  server.met.filter(({ host }) => host === "cdn").map(({ range }) => range);

Deno.test("killed in the middle, the next one goes on from the bytes that were there", () =>
  withHub(async (server, home) => {
    server.fault = ({ host, count }) => host === "cdn" && count === 1 ? { slow: 20 } : undefined;
    let killed = false;
    const first = await fetchTiny(server, home, (said, child) => {
      // The second report comes half a second after the first.
      if (killed || (said.match(/^at /gm)?.length ?? 0) < 2) return;
      killed = true;
      child.kill("SIGKILL");
    });
    assert(killed && first.code !== 0, first.err);
    const blobs = `${home}/hub/models--Qwen--Tiny/blobs`;
    const [incomplete] = (await filesUnder(blobs)).filter((name) => name.endsWith(".incomplete"));
    const { size } = await Deno.stat(`${blobs}/${incomplete}`);
    assert(size > 0 && size < weights.length);

    const second = await fetchTiny(server, home);
    assertEquals(second.code, 0, second.err);
    assertEquals(rangesOf(server), [null, `bytes=${size}-`]);
    assertEquals(await Deno.readFile(`${JSON.parse(second.out).folder}/model.safetensors`), weights);
    assertEquals((await filesUnder(blobs)).length, 4);
  }));

for (
  const [times, said] of [
    [
      1,
      /^Stopped while fetching model Qwen\/Tiny: [\d.]+ KiB of 391 KiB are kept in .*\/hub, and the same command goes on/m,
    ],
    [
      2,
      /^(Stopped at once; what has arrived is kept|Stopped while fetching model Qwen\/Tiny: ).*the same command goes on/m,
    ],
  ] as const
) {
  Deno.test(`Ctrl-C ${times === 1 ? "once" : "twice"} while fetching ends in a sentence, status 130, and is gone on from`, () =>
    withHub(async (server, home) => {
      server.fault = ({ host, count }) => host === "cdn" && count === 1 ? { slow: 20 } : undefined;
      let pressed = false;
      const first = await fetchTiny(server, home, (said, child) => {
        if (pressed || (said.match(/^at /gm)?.length ?? 0) < 2) return;
        pressed = true;
        for (let i = 0; i < times; i++) child.kill("SIGINT");
      });
      assertEquals(first.code, 130, first.err);
      assertMatch(first.err, said);
      assert(!/^\s+at .*\.ts:\d/m.test(first.err) && !/^error/m.test(first.err), first.err);
      const blobs = `${home}/hub/models--Qwen--Tiny/blobs`;
      const [incomplete] = (await filesUnder(blobs)).filter((name) => name.endsWith(".incomplete"));
      const { size } = await Deno.stat(`${blobs}/${incomplete}`);
      assert(size > 0 && size < weights.length);
      const second = await fetchTiny(server, home);
      assertEquals(second.code, 0, second.err);
      assertEquals(rangesOf(server), [null, `bytes=${size}-`]);
      assertEquals(await Deno.readFile(`${JSON.parse(second.out).folder}/model.safetensors`), weights);
    }));
}

Deno.test("Ctrl-C while waiting for a server that is out of order, or for another process, ends at once", () =>
  withHub(async (server, home) => {
    const press = (sign: string) => {
      let pressed = false;
      return (said: string, child: Deno.ChildProcess) => {
        if (pressed || !said.includes(sign)) return;
        pressed = true;
        child.kill("SIGTERM");
      };
    };
    server.fault = () => new Response("", { status: 503, headers: { "Retry-After": "600" } });
    const refused = await fetchTiny(server, home, press("trying again in"));
    assertEquals(refused.code, 130, refused.err);
    assertMatch(refused.err, /^Stopped while fetching; what has arrived is kept/m);

    server.fault = ({ host }) => host === "cdn" ? { slow: 40 } : undefined;
    const other = fetchTiny(server, home);
    while (rangesOf(server).length === 0) await new Promise((resume) => setTimeout(resume, 20));
    const waiting = await fetchTiny(server, home, press("Another process is fetching"));
    assertEquals(waiting.code, 130, waiting.err);
    assertMatch(waiting.err, /^Stopped while fetching model Qwen\/Tiny: /m);
    assertEquals((await other).code, 0);
  }));

Deno.test("of two at once, one fetches and the other waits and finds it", () =>
  withHub(async (server, home) => {
    server.fault = ({ host }) => host === "cdn" ? { slow: 15 } : undefined;
    const both = await Promise.all([fetchTiny(server, home), fetchTiny(server, home)]);
    for (const { code, out, err } of both) {
      assertEquals(code, 0, err);
      assertEquals(await Deno.readFile(`${JSON.parse(out).folder}/model.safetensors`), weights);
    }
    assertEquals(rangesOf(server), [null], "the weights left the server once");
    assertEquals(both.filter(({ err }) => err.includes("Another process is fetching")).length, 1);
  }));

Deno.test("a full disk is told before anything is fetched; one that fills up meanwhile is named (needs leave to mount a small disk)", async (t) => {
  const disk = await Deno.makeTempDir({ prefix: "precis-disk-" });
  const mounted = Deno.build.os === "linux" &&
    await new Deno.Command("mount", {
      args: ["-t", "tmpfs", "-o", "size=300k", "tmpfs", disk],
      stderr: "null",
    }).output()
      .then(({ success }) => success, () => false);
  await t.step({
    name: "on a disk of 300 KiB",
    ignore: !mounted,
    fn: () =>
      withHub(async (server) => {
        const early = await fetchTiny(server, disk);
        assertEquals(early.code, 1);
        assertMatch(
          early.err,
          /^error: Model Qwen\/Tiny needs 391 KiB more in .*, where \d+ KiB are free; .* HF_HOME\.$/m,
        );
        assertEquals(rangesOf(server), []);
        // Room that looks like enough is taken by somebody else on the way.
        await new Deno.Command("mount", { args: ["-o", "remount,size=600k", disk] }).output();
        server.fault = ({ host }) => {
          if (host === "cdn") Deno.writeFileSync(`${disk}/other`, new Uint8Array(250_000));
          return undefined;
        };
        const late = await fetchTiny(server, disk);
        assertEquals(late.code, 1);
        assertMatch(
          late.err,
          /^error: Could not write .*: no space is left on its disk; .* HF_HOME; what has arrived is kept\.$/m,
        );
        server.fault = () => undefined;
        await Deno.remove(`${disk}/other`);
        const after = await fetchTiny(server, disk);
        assertEquals(after.code, 0, after.err);
        assertMatch(rangesOf(server).at(-1)!, /^bytes=\d+-$/);
      }),
  });
  if (mounted) await new Deno.Command("umount", { args: [disk] }).output();
  await Deno.remove(disk, { recursive: true });
});

Deno.test("the environment's variables, and where the token comes from", async () => {
  const read = (variables: Record<string, string>) => hubSettings((name) => variables[name]);
  const home = await Deno.makeTempDir();
  try {
    assertEquals(await read({ XDG_CACHE_HOME: "/x" }), {
      endpoint: "https://huggingface.co",
      home: "/x/huggingface",
      cache: "/x/huggingface/hub",
      assets: "/x/huggingface/assets",
      token: undefined,
      tokenFrom: undefined,
      offline: false,
    });
    const all = await read({
      HF_HOME: "$BASE/${SUB}/",
      BASE: home,
      SUB: "hf",
      HF_ENDPOINT: "http://mirror.example/",
      HF_HUB_CACHE: "~/cache",
      HOME: "/elsewhere",
      HF_HUB_OFFLINE: "yes",
    });
    assertEquals([all.home, all.endpoint, all.offline], [`${home}/hf`, "http://mirror.example", true]);
    assert(/^\/.*\/cache$/.test(all.cache) && !all.cache.includes("~"), all.cache);
    assertEquals((await read({ HF_HUB_OFFLINE: "0" })).offline, false);

    await Deno.writeTextFile(`${home}/token`, "hf_file\n");
    const tokens = async (variables: Record<string, string>) => {
      const { token, tokenFrom } = await read({ HF_HOME: home, ...variables });
      return [token, tokenFrom];
    };
    assertEquals(await tokens({}), ["hf_file", `${home}/token`]);
    assertEquals(await tokens({ HF_TOKEN: "hf_env" }), ["hf_env", "HF_TOKEN"]);
    assertEquals(await tokens({ HUGGING_FACE_HUB_TOKEN: "hf_old" }), ["hf_old", "HUGGING_FACE_HUB_TOKEN"]);
    assertEquals(await tokens({ HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }), [undefined, undefined]);
    await Deno.rename(`${home}/token`, `${home}/other`);
    assertEquals(await tokens({ HF_TOKEN_PATH: `${home}/other` }), ["hf_file", `${home}/other`]);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
