import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { type Files, memoryFiles } from "../../../lab/bytes.ts";
import { type KeepRows, kept } from "../../../lab/stages/kept.ts";

const file = "run/evaluation/sft/samples.jsonl";

/** Measures seven rows three at a time, the i-th being i². */
function squares(files: Files, key = "a", tick: (rows: number) => void = () => {}) {
  const asked: [number, number][] = [];
  const body = async (rows: KeepRows) => ({
    all: await rows("samples", 7, 3, (from, to) => {
      asked.push([from, to]);
      return Promise.resolve(Array.from({ length: to - from }, (_, i) => (from + i) ** 2));
    }),
  });
  return { asked, result: kept({ files, path: "run" }, { name: "sft", key, tick }, body) };
}

const whole = { all: [0, 1, 4, 9, 16, 25, 36] };

/** A disk on which the measurement was stopped after so many batches. */
async function stopped(batches: number): Promise<Files> {
  const files = memoryFiles();
  await files.makeDirectory("run");
  let left = batches;
  const { result } = squares(files, "a", () => {
    if (--left === 0) throw new Error("stop");
  });
  await assertRejects(() => result, Error, "stop");
  return files;
}

Deno.test("rows that were kept are not measured again, and once all are there only the result is left", async () => {
  for (const [batches, rest] of [[1, [[3, 6], [6, 7]]], [2, [[6, 7]]], [3, []]] as const) {
    const files = await stopped(batches);
    const ticks: number[] = [];
    const { asked, result } = squares(files, "a", (rows) => void ticks.push(rows));
    assertEquals(await result, whole);
    assertEquals(asked, rest.map(([from, to]) => [from, to]));
    assertEquals(ticks.reduce((sum, rows) => sum + rows, 0), 7);
    assertEquals(await files.list("run/evaluation"), ["sft.json"]);
    const again = squares(files);
    assertEquals([await again.result, again.asked], [whole, []]);
  }
});

Deno.test("a torn line costs its batch, anything else that is wrong the file", async () => {
  const files = await stopped(2);
  const text = new TextDecoder().decode(await files.read(file));
  const lines = text.split("\n");
  const asked = async (damaged: string, key?: string) => {
    await files.remove("run/evaluation/sft.json");
    await files.makeDirectory("run/evaluation/sft");
    await files.writeAtomic(file, new TextEncoder().encode(damaged));
    const { asked, result } = squares(files, key);
    assertEquals(await result, whole);
    return asked.length;
  };
  assertEquals(await asked(text), 1);
  assertEquals(await asked(text.slice(0, -3)), 2);
  assertEquals(await asked(lines[0].slice(0, 20)), 3);
  assertEquals(await asked(text.replace("[0,1,4]", "[0,1,5]")), 3);
  assertEquals(await asked(`${lines[1]}\n`), 3);
  assertEquals(await asked(`null\n${text}`), 3);
  assertEquals(await asked(text, "b"), 3);
  assertEquals(await asked(text + text), 3);
});
