/** A folder on a web server as `Files`: with ranges, without, and with servers that answer oddly. */
import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { FileAccessError } from "../../../lab/bytes.ts";
import { httpFiles } from "../../../lab/page/http_files.ts";

const digits = "0123456789";

/** A server with `digits.txt` alone, or that answers what is not there with a page. */
async function withServer(
  kind: { ranges: boolean; pageForMissing?: boolean },
  body: (folder: string, asked: string[]) => Promise<void>,
) {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    asked.push(`${request.method} ${range?.[0] ?? "all"}`);
    if (new URL(request.url).pathname !== "/models/a/digits.txt") {
      return kind.pageForMissing
        ? new Response("<p>Home</p>", { headers: { "content-type": "text/html" } })
        : new Response("no", { status: 404 });
    }
    if (!range || !kind.ranges) return new Response(digits, { headers: { "content-type": "text/plain" } });
    const [from, to] = [Number(range[1]), Math.min(9, Number(range[2]))];
    const headers = { "content-range": `bytes ${from}-${to}/10` };
    return new Response(digits.slice(from, to + 1), { status: 206, headers });
  });
  try {
    await body(`http://127.0.0.1:${server.addr.port}/models/a`, asked);
  } finally {
    await server.shutdown();
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

for (const ranges of [true, false]) {
  Deno.test(`a file is read whole and in parts, ${ranges ? "with" : "without"} ranges`, async () => {
    await withServer({ ranges }, async (folder, asked) => {
      let received = 0;
      const files = httpFiles(folder, (bytes) => received += bytes);
      assertEquals(await files.size("digits.txt"), 10);
      assertEquals(text(await files.readRange("digits.txt", 3, 6)), "345");
      assertEquals((await files.readRange("digits.txt", 3, 3)).length, 0);
      assertEquals(text(await files.read("digits.txt")), digits);
      assertEquals(await files.exists("digits.txt"), true);
      await assertRejects(() => files.readRange("digits.txt", 8, 12), FileAccessError, "byte");
      // Where there are no ranges, the first answer serves all questions.
      assertEquals(
        asked,
        ranges
          ? ["GET bytes=0-0", "GET bytes=3-5", "GET all", "HEAD all", "GET bytes=8-11"]
          : ["GET bytes=0-0"],
      );
      assertEquals(received, ranges ? 3 + 10 + 2 : 10);
    });
  });
}

for (const pageForMissing of [false, true]) {
  Deno.test(`what is missing is missing${pageForMissing ? ", whatever page the server sends" : ""}`, async () => {
    await withServer({ ranges: true, pageForMissing }, async (folder) => {
      const files = httpFiles(`${folder}/`);
      assertEquals(await files.exists("model.safetensors"), false);
      for (const ask of [() => files.read("model.safetensors"), () => files.size("model.safetensors")]) {
        await assertRejects(ask, FileAccessError, "/models/a/model.safetensors cannot be read");
      }
      assertEquals(text(await files.read("../a/digits.txt")), digits);
    });
  });
}

Deno.test("a server that is not there is named; nothing can be listed or written", async () => {
  const files = httpFiles("http://127.0.0.1:9/models/");
  await assertRejects(
    () => files.read("a"),
    FileAccessError,
    "http://127.0.0.1:9/models/a cannot be reached",
  );
  await assertRejects(() => files.list(""), FileAccessError, "cannot be listed");
  for (const write of [files.append, files.createNew, files.writeAtomic]) {
    await assertRejects(() => write("a", new Uint8Array()), FileAccessError, "cannot be changed");
  }
});
