import { assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import {
  canonicalJson,
  DamagedFileError,
  digestOfJson,
  FileAccessError,
  memoryFiles,
  readJson,
  sha256Of,
  sha256OfFile,
  startSha256,
} from "../../lab/bytes.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("the running SHA-256 gives FIPS 180-4's digests however the bytes arrive", async () => {
  const vectors: [string, string][] = [
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    [
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ],
  ];
  for (const [text, expected] of vectors) {
    for (const step of [1, 7, 100]) {
      const digest = startSha256();
      for (let at = 0; at < text.length; at += step) digest.update(utf8(text.slice(at, at + step)));
      assertEquals(digest.finish(), expected);
    }
    assertEquals(await sha256Of(utf8(text)), expected);
    assertEquals(await sha256OfFile(memoryFiles({ f: text }), "f"), { size: text.length, sha256: expected });
  }
});

Deno.test("canonical JSON sorts keys at every depth, drops what is undefined and refuses what JSON lacks", async () => {
  // The example of RFC 8785, §3.2.3, for the order of keys.
  const keys = {
    "\u20ac": "Euro",
    "\r": "CR",
    "\ufb33": "D",
    "1": "One",
    "\ud83d\ude00": "S",
    "\u0080": "C",
    "\u00f6": "O",
  };
  assertEquals(Object.keys(JSON.parse(canonicalJson(keys))).length, 7);
  assertEquals(
    canonicalJson(keys),
    '{"\\r":"CR","1":"One","\u0080":"C","\u00f6":"O","\u20ac":"Euro","\ud83d\ude00":"S","\ufb33":"D"}',
  );
  assertEquals(canonicalJson({ b: [1, { d: -0, c: null }], a: undefined }), '{"b":[1,{"c":null,"d":0}]}');
  assertEquals(await digestOfJson({ x: 1, y: 2 }), await digestOfJson({ y: 2, x: 1 }));
  for (const value of [NaN, { a: Infinity }, [() => 1], new Map(), Float32Array.of(1), [undefined], 1n]) {
    assertThrows(() => canonicalJson(value), TypeError);
  }
});

Deno.test("files in memory behave as a disk does", async () => {
  const files = memoryFiles({ "a/b/c.txt": "hello" });
  assertEquals(await files.list(""), ["a/"]);
  assertEquals(await files.list("a/b"), ["c.txt"]);
  await assertRejects(
    () => files.writeAtomic("no/where", utf8("x")),
    FileAccessError,
    "make the folder first",
  );
  await assertRejects(() => files.read("a/none"), FileAccessError, "does not exist");
  await assertRejects(() => files.readRange("a/b/c.txt", 3, 6), FileAccessError, "has 5 bytes");
  await assertRejects(() => files.makeDirectory("a/b/c.txt"), FileAccessError, "is a file");
  assertEquals(await files.createNew("a/b/c.txt", utf8("x")), false);
  await files.rename("a/b", "d");
  assertEquals([await files.exists("a/b/c.txt"), await files.exists("d/c.txt")], [false, true]);
  await files.truncate("d/c.txt", 2);
  await files.append("d/c.txt", utf8("y"));
  assertEquals(new TextDecoder().decode(await files.read("d/c.txt")), "hey");
  await files.remove("d");
  assertEquals(await files.list(""), ["a/"]);
});

Deno.test("a write in memory whose source fails leaves the previous file", async () => {
  const files = memoryFiles({ f: "old" });
  await assertRejects(
    () =>
      files.writeAtomic(
        "f",
        (async function* () {
          yield utf8("ne");
          await Promise.reject(new Error("stop"));
        })(),
      ),
    Error,
    "stop",
  );
  assertEquals(await files.read("f"), utf8("old"));
});

Deno.test("malformed JSON is reported with its file", async () => {
  const files = memoryFiles({ "a.json": "{", "b.json": Uint8Array.of(0xff) });
  await assertRejects(() => readJson(files, "a.json"), DamagedFileError, "a.json is not valid JSON");
  await assertRejects(
    () => readJson(files, "b.json"),
    DamagedFileError,
    "b.json is not valid JSON (it is not UTF-8 text)",
  );
});
