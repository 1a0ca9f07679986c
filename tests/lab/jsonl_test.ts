import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { appendJsonl, healJsonl, readJsonl } from "../../lab/jsonl.ts";
import { feedDamaged } from "./damage.ts";

const all = async (...reading: Parameters<typeof readJsonl>) => await Array.fromAsync(readJsonl(...reading));

Deno.test("records come back in order, whatever text they hold", async () => {
  const files = memoryFiles();
  const records = [{ step: 1 }, { text: "line\nbreak \u2028 😀" }, [null], "x"];
  await appendJsonl(files, "m", records.slice(0, 2));
  await appendJsonl(files, "m", []);
  await appendJsonl(files, "m", records.slice(2));
  assertEquals(await all(files, "m"), records.map((value, i) => ({ line: i + 1, value })));
});

Deno.test("a torn last line is cut off at whichever byte the kill came", async () => {
  const files = memoryFiles();
  await appendJsonl(files, "m", [{ step: 1, é: "ü" }, { step: 2 }, { step: 3 }]);
  const whole = await files.read("m");
  for (let length = 0; length <= whole.length; length++) {
    const torn = memoryFiles({ m: whole.slice(0, length) });
    const cut = await healJsonl(torn, "m");
    const lines = whole.slice(0, length).filter((byte) => byte === 10).length;
    assertEquals(cut + await torn.size("m"), length);
    assertEquals((await all(torn, "m")).length, lines);
    await appendJsonl(torn, "m", [{ step: "next" }]);
    assertEquals((await all(torn, "m")).at(-1), { line: lines + 1, value: { step: "next" } });
  }
  assertEquals(await healJsonl(memoryFiles(), "none"), 0);
});

Deno.test("a torn line longer than the block in which its beginning is sought is cut off whole", async () => {
  const files = memoryFiles({ m: '{"a":1}\n' + "x".repeat(200_000), n: "y".repeat(200_000) });
  assertEquals(await healJsonl(files, "m"), 200_000);
  assertEquals(await files.size("m"), 8);
  assertEquals(await healJsonl(files, "n"), 200_000);
});

Deno.test("lines across the reader's blocks are put together, in several pieces too", async () => {
  const long = "ä".repeat(1_300_000);
  const files = memoryFiles({ m: `1\n${JSON.stringify(long)}\n2\n` });
  assertEquals((await all(files, "m")).map(({ value }) => value), [1, long, 2]);
});

Deno.test("byte order marks, carriage returns, blank lines and a last line without newline are taken as they come", async () => {
  const files = memoryFiles({ m: '\ufeff{"a":1}\r\n\r\n\n{"a":2}' });
  assertEquals(await all(files, "m"), [{ line: 1, value: { a: 1 } }, { line: 4, value: { a: 2 } }]);
  assertEquals(await all(files, "m", { stillGrowing: true }), [{ line: 1, value: { a: 1 } }]);
  assertEquals(await all(memoryFiles({ m: "" }), "m"), []);
});

Deno.test("a bad line is reported by file and number", async () => {
  const read = (content: string | Uint8Array, longestLine?: number) =>
    all(memoryFiles({ "d.jsonl": content }), "d.jsonl", { longestLine });
  await assertRejects(() => read('{"a":1}\n{"a":\n'), DamagedFileError, "d.jsonl:2 is not valid JSON");
  await assertRejects(
    () => read('{"a":1}\n\ufeff{"a":1}\n'),
    DamagedFileError,
    "d.jsonl:2 is not valid JSON",
  );
  await assertRejects(
    () => read(Uint8Array.of(0x31, 10, 0xff, 10)),
    DamagedFileError,
    "d.jsonl:2 is not UTF-8",
  );
  await assertRejects(
    () => read("1\n" + "9".repeat(5000), 4096),
    DamagedFileError,
    "d.jsonl:2 is longer than 4096 bytes",
  );
});

Deno.test("a thousand damaged files end in a DamagedFileError or in the lines they hold", async () => {
  const sound = Array.from({ length: 20 }, (_, i) => JSON.stringify({ step: i, text: "é\n😀" })).join("\n") +
    "\n";
  await feedDamaged(sound, async (bytes) => {
    const lines = new TextDecoder().decode(bytes).replace(/^\ufeff/, "").split("\n");
    for (
      const { line, value } of await all(memoryFiles({ "d.jsonl": bytes }), "d.jsonl", { longestLine: 5000 })
    ) {
      assertEquals(value, JSON.parse(lines[line - 1]));
    }
  }, { names: "d.jsonl:" });
});
