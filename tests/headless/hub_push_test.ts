import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { exportTask } from "../../headless/export.ts";
import { diskFiles } from "../../headless/files.ts";
import { HubError } from "../../headless/hub_errors.ts";
import { checkRepositoryName, pushFolder, requireToken } from "../../headless/hub_push.ts";
import { silent } from "../../lab/progress.ts";

interface Asked {
  method: string;
  path: string;
  headers: Headers;
  body: Uint8Array;
}

/** What the stand-in has been given: files of the last commit, whole. */
interface StandIn {
  endpoint: string;
  asked: Asked[];
  committed: Map<string, Uint8Array>;
}

const encoder = new TextEncoder(), decoder = new TextDecoder();
const json = (value: unknown, status = 200) => Response.json(value, { status });

/**
 * A stand-in for the Hub on the loopback, as far as a commit needs one: the shapes of requests and answers are those of the Hub's HTTP API
 * and of Git LFS. Files of more than a hundred bytes go by LFS, those of more than a thousand in four parts.
 * @param answer may take a request over
 */
async function withHub(
  answer: (asked: Asked) => Response | undefined,
  body: (hub: StandIn) => Promise<void>,
): Promise<void> {
  const stored = new Map<string, Uint8Array>(), parts = new Map<string, Uint8Array[]>();
  const hub: StandIn = { endpoint: "", asked: [], committed: new Map() };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const asked = {
      method: request.method,
      path: pathname,
      headers: request.headers,
      // A client that has met an error elsewhere takes its other requests back.
      body: new Uint8Array(await request.arrayBuffer().catch(() => new ArrayBuffer())),
    };
    hub.asked.push(asked);
    const taken = answer(asked);
    if (taken) return taken;
    const value = () => JSON.parse(decoder.decode(asked.body));
    if (pathname === "/api/repos/create") {
      return json({ url: `${hub.endpoint}/${value().organization}/${value().name}` });
    }
    if (pathname === "/api/models/me/it/preupload/main") {
      const files = value().files.map(({ path, size }: { path: string; size: number }) => ({
        path,
        uploadMode: size > 100 ? "lfs" : "regular",
      }));
      return json({ files });
    }
    if (pathname === "/me/it.git/info/lfs/objects/batch") {
      const objects = value().objects.map(({ oid, size }: { oid: string; size: number }) => {
        if (size <= 1000) return { oid, size, actions: { upload: { href: `${hub.endpoint}/store/${oid}` } } };
        const part = Math.ceil(size / 4);
        const numbers = Array.from({ length: Math.ceil(size / part) }, (_, i) => i + 1);
        const header = Object.fromEntries(
          numbers.map((n) => [String(n).padStart(5, "0"), `${hub.endpoint}/part/${oid}/${n}`]),
        );
        return {
          oid,
          size,
          actions: {
            upload: {
              href: `${hub.endpoint}/complete/${oid}`,
              header: { chunk_size: String(part), ...header },
            },
          },
        };
      });
      return json({ transfer: "basic", objects });
    }
    const [, kind, oid, number] = pathname.split("/");
    if (kind === "store") stored.set(oid, asked.body);
    else if (kind === "part") {
      (parts.get(oid) ?? parts.set(oid, []).get(oid)!)[Number(number) - 1] = asked.body;
      return new Response(null, { headers: { ETag: `"${number}"` } });
    } else if (kind === "complete") {
      assertEquals(
        value().parts.map(({ etag }: { etag: string }) => etag),
        parts.get(oid)!.map((_, i) => `"${i + 1}"`),
      );
      stored.set(oid, await new Blob(parts.get(oid)! as BlobPart[]).bytes());
    } else if (pathname === "/api/models/me/it/commit/main") {
      for (const line of decoder.decode(asked.body).split("\n").map((text) => JSON.parse(text))) {
        if (line.key === "file") {
          hub.committed.set(
            line.value.path,
            Uint8Array.from(atob(line.value.content), (c) => c.charCodeAt(0)),
          );
        }
        if (line.key === "lfsFile") hub.committed.set(line.value.path, stored.get(line.value.oid)!);
      }
      return json({ commitOid: "0".repeat(40), commitUrl: `${hub.endpoint}/me/it/commit/${"0".repeat(40)}` });
    } else return new Response("no such thing", { status: 404 });
    return new Response();
  });
  hub.endpoint = `http://127.0.0.1:${server.addr.port}`;
  try {
    await body(hub);
  } finally {
    await server.shutdown();
  }
}

/** A folder with files of every size there is a way for. */
async function withFolder(
  body: (folder: string, contents: Map<string, Uint8Array>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const contents = new Map([
    ["README.md", encoder.encode("# Bonjour, Précis")],
    ["config.json", encoder.encode("{}")],
    ["onnx/model.onnx", Uint8Array.from({ length: 500 }, (_, i) => i)],
    ["onnx/model.onnx_data", Uint8Array.from({ length: 1501 }, (_, i) => i * 7)],
  ]);
  try {
    await Deno.mkdir(`${folder}/onnx`);
    for (const [path, bytes] of contents) await Deno.writeFile(`${folder}/${path}`, bytes);
    await Deno.writeTextFile(`${folder}/.README.md.unfinished`, "half");
    await body(folder, contents);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const settingsOf = (endpoint: string) => ({
  endpoint,
  token: "hf_secret",
  tokenFrom: "HF_TOKEN",
  offline: false,
});

Deno.test("a folder becomes one commit of a repository that is made for it", async () => {
  await withFolder((folder, contents) =>
    withHub(() => undefined, async (hub) => {
      const options = { settings: settingsOf(hub.endpoint), progress: silent, private: true };
      const page = await pushFolder(folder, "me/it", options);
      assertEquals(page, `${hub.endpoint}/me/it/commit/${"0".repeat(40)}`);
      assertEquals(hub.committed, contents);
      const made = JSON.parse(decoder.decode(hub.asked[0].body));
      assertEquals([made.type, made.organization, made.name, made.visibility], [
        "model",
        "me",
        "it",
        "private",
      ]);
      for (const { path, headers, method } of hub.asked) {
        const signed = /^\/(store|part|complete)\//.test(path);
        assertEquals(headers.get("Authorization"), signed ? null : "Bearer hf_secret", path);
        // The Hub's storage takes no body of unknown length.
        if (method === "PUT") assert(Number(headers.get("Content-Length")) > 0, path);
      }
      assertEquals(hub.asked.filter(({ path }) => path.endsWith("/commit/main")).length, 1);
    })
  );
});

Deno.test("deno task export writes the folder and pushes it, and pushes it again as it is", async () => {
  const base = decodeURIComponent(new URL("../../public/demo/base", import.meta.url).pathname);
  const out = `${await Deno.makeTempDir()}/policy`;
  await withHub(() => undefined, async (hub) => {
    const world = {
      files: diskFiles(),
      env: (name: string) =>
        ({ HF_ENDPOINT: hub.endpoint, HF_TOKEN: "hf_secret", HF_HOME: "/nowhere" })[name],
      progress: silent,
    };
    const said = await exportTask(["--from", base, "--out", out, "--push", "me/it"], world);
    assertMatch(said, /^Written: .*\nPushed: http:\/\/127\.0\.0\.1.*\/commit\/0+$/);
    const first = new Map(hub.committed);
    assertEquals([...first.keys()], [
      "README.md",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    for (const [path, bytes] of first) assertEquals(bytes, await Deno.readFile(`${out}/${path}`), path);
    assertMatch(decoder.decode(first.get("README.md")), /^# me\/it$/m);
    hub.committed.clear();
    await exportTask(["--out", out, "--push", "me/it"], world);
    assertEquals(hub.committed, first);
  });
  await Deno.remove(out.slice(0, out.lastIndexOf("/")), { recursive: true });
});

Deno.test("a repository that is there already gets a further commit", async () => {
  const notes: string[] = [];
  await withFolder((folder, contents) =>
    withHub(
      ({ path }) =>
        path === "/api/repos/create"
          ? json({ error: "You already created this model repo" }, 409)
          : undefined,
      async (hub) => {
        await pushFolder(folder, "me/it", {
          settings: settingsOf(hub.endpoint),
          progress: { ...silent, note: (text) => notes.push(text) },
          private: false,
        });
        assertEquals(hub.committed, contents);
        assertMatch(notes.join(), /me\/it exists already/);
      },
    )
  );
});

for (
  const [title, path, answer, sentence] of [
    [
      "a token that is not accepted",
      /create/,
      () => json({ error: "Invalid username or password." }, 401),
      /^127\.0\.0\.1:\d+ does not accept the token in HF_TOKEN; make one with write access at http.*\/settings\/tokens, then push again with deno task export --out \S+ --push me\/it\.$/,
    ],
    [
      "a token that may not write",
      /preupload/,
      () => json({ error: "Forbidden" }, 403),
      /^The token in HF_TOKEN may not write to me\/it; it needs write access, and its account must be me or belong to it: .* then push again/,
    ],
    [
      "a commit of someone else in between",
      /commit/,
      () => json({ error: "A commit has happened since" }, 409),
      /^me\/it was changed by someone else during the upload, and nothing was committed; see what it holds, then push again/,
    ],
    [
      "a Hub that is out of order",
      /batch/,
      () => new Response("upstream\n timed out", { status: 503 }),
      /^127\.0\.0\.1:\d+ answered 503 \(upstream timed out\), and nothing was committed; wait a while, then push again/,
    ],
    [
      "storage that refuses a part",
      /part/,
      () => new Response("<Error/>", { status: 400 }),
      /answered 400.*nothing was committed/,
    ],
  ] as const
) {
  Deno.test(`one sentence tells of ${title}`, async () => {
    await withFolder((folder) =>
      withHub((asked) => path.test(asked.path) ? answer() : undefined, async (hub) => {
        const error = await assertRejects(
          () =>
            pushFolder(folder, "me/it", {
              settings: settingsOf(hub.endpoint),
              progress: silent,
              private: false,
            }),
          Error,
        );
        assertMatch(error.message, sentence);
        assert(!error.message.includes("hf_secret") && !error.message.includes("\n"), error.message);
        assertEquals(hub.committed.size, 0);
      })
    );
  });
}

Deno.test("a Hub that nobody answers for is out of reach", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await withFolder(async (folder) => {
    const settings = settingsOf(`http://127.0.0.1:${port}`);
    const error = await assertRejects(
      () => pushFolder(folder, "me/it", { settings, progress: silent, private: false }),
      Error,
    );
    assertMatch(
      error.message,
      /^127\.0\.0\.1:\d+ cannot be reached \(.*\), and nothing was committed; see to the network/,
    );
  });
});

Deno.test("names and tokens are looked at before anything is sent", () => {
  for (const name of ["it", "me/it/too", "me/", "-a/b", "a/b..c", "https://huggingface.co/a/b"]) {
    assertThrows(() => checkRepositoryName(name), RangeError, "owner/name");
  }
  checkRepositoryName("openai-community/gpt2.5_b");
  const hub = { endpoint: "https://huggingface.co", tokenFrom: undefined, offline: false };
  assertThrows(
    () => requireToken({ ...hub, token: undefined }),
    Error,
    "https://huggingface.co/settings/tokens",
  );
  assertThrows(
    () => requireToken({ ...hub, token: "hf_1", offline: true }),
    HubError,
    "HF_HUB_OFFLINE is set",
  );
  assertThrows(() => requireToken({ ...hub, token: "sk-1" }), Error, 'begin with "hf_"');
});
