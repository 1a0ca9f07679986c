/** A growing file read by increments: nothing twice, nothing torn, and again from the start where it was cut back. */
import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, type Files, memoryFiles } from "../../../lab/bytes.ts";
import { tailOf } from "../../../lab/runs/tail.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const line = (n: number) =>
  JSON.stringify({ n, text: "so viele Wörter wie nötig, damit es lang genug wird" }) + "\n";

/** The files, and how many bytes were asked of them. */
function counted(files: Files): Files & { bytes: number } {
  const wrapped = {
    ...files,
    bytes: 0,
    readRange: (path: string, from: number, to: number) => {
      wrapped.bytes += to - from;
      return files.readRange(path, from, to);
    },
  };
  return wrapped;
}

Deno.test("what is added is read once, whatever the pieces in which it comes", async () => {
  const whole = bytes(Array.from({ length: 40 }, (_, n) => line(n)).join(""));
  for (const size of [1, 7, 63, 64, 65, 500, whole.length]) {
    const files = counted(memoryFiles({ m: "" }));
    const tail = tailOf(files, "m");
    const seen: unknown[] = [];
    let readings = 0;
    for (let at = 0; at < whole.length; at += size) {
      await files.append("m", whole.slice(at, at + size));
      const { values, restarted } = await tail.read();
      assertEquals(restarted, false);
      seen.push(...values);
      readings++;
    }
    assertEquals(seen.map((value) => (value as { n: number }).n), Array.from({ length: 40 }, (_, n) => n));
    assertEquals([tail.offset, tail.lines], [whole.length, 40]);
    // Beyond each byte once: the overlap, and the begun line that waits.
    const most = whole.length + readings * (1024 + line(10).length + 2);
    assertEquals(files.bytes <= most, true, `${files.bytes} of ${most} in pieces of ${size}`);
  }
});

Deno.test("a torn last line waits until it is whole", async () => {
  const files = memoryFiles({ m: line(1) + '{"n":' });
  const tail = tailOf(files, "m");
  assertEquals((await tail.read()).values.length, 1);
  assertEquals((await tail.read()).values, []);
  await files.append("m", bytes("2}"));
  assertEquals((await tail.read()).values, []);
  await files.append("m", bytes("\n"));
  assertEquals((await tail.read()).values, [{ n: 2 }]);
});

Deno.test("a file that was cut back, rewritten or taken away is read anew", async () => {
  const files = memoryFiles({ m: line(1) + line(2) + line(3) });
  const tail = tailOf(files, "m");
  await tail.read();
  // Cut back by a resumed run.
  await files.truncate("m", bytes(line(1)).length);
  assertEquals(await tail.read(), { values: [JSON.parse(line(1))], restarted: true });
  // Cut back and grown past the place meanwhile.
  await files.writeAtomic("m", bytes(line(7) + line(8)));
  const again = await tail.read();
  assertEquals([again.restarted, again.values.map((value) => (value as { n: number }).n)], [true, [7, 8]]);
  // Another of the same length.
  await files.writeAtomic("m", bytes(line(7) + line(9)));
  assertEquals((await tail.read()).restarted, true);
  await files.remove("m");
  assertEquals(await tail.read(), { values: [], restarted: true });
  assertEquals(await tail.read(), { values: [], restarted: false });
});

Deno.test("a line that is no JSON is named, and met again", async () => {
  const files = memoryFiles({ "runs/a/metrics.jsonl": line(1) + "{]\n" });
  const tail = tailOf(files, "runs/a/metrics.jsonl");
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => tail.read(), DamagedFileError, "runs/a/metrics.jsonl:2 is not valid JSON");
  }
});

Deno.test("a file that is not there is an empty one, and is read once it is", async () => {
  const files = memoryFiles();
  const tail = tailOf(files, "m");
  assertEquals(await tail.read(), { values: [], restarted: false });
  await files.append("m", bytes(line(1)));
  assertEquals((await tail.read()).values.length, 1);
});
