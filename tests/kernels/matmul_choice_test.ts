import { assert, assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { gemm, type Shape, shapeClass } from "../../kernels/matmul.ts";
import { chooseMatmul, exportChoices, formatTrials, importChoices } from "../../kernels/matmul_choice.ts";
import { gpuTest, normals } from "./testing.ts";

const shapes: Shape[] = [{ form: "NT", M: 8, N: 16, K: 16 }, { form: "TN", M: 16, N: 16, K: 30 }];

gpuTest(
  "a software adapter's kernels are the same on every run: nothing is tried unless asked for",
  async (gpu) => {
    if (!gpu.facts.software) return;
    assertEquals(await chooseMatmul(gpu, shapes), []);
    assertEquals(gpu.choices.size, 0);
  },
);

gpuTest(
  "the measured choice takes the fastest of each class, once, and comes back from JSON",
  async (gpu) => {
    const trials = await chooseMatmul(gpu, shapes, { always: true, budget: 1 });
    for (const { form, M, N, K } of shapes) {
      const name = shapeClass(form, M, N, K), tried = trials.filter((trial) => trial.shapeClass === name);
      assert(tried.length > 1);
      const best = Math.max(...tried.map(({ gflops }) => gflops));
      assertEquals(gpu.choices.get(name), tried.find(({ gflops }) => gflops === best)!.variant);
    }
    assertEquals(formatTrials(trials).split("\n").filter((line) => line.endsWith("<")).length, shapes.length);
    assertEquals(await chooseMatmul(gpu, shapes, { always: true, budget: 1 }), []);
    const text = exportChoices(gpu), before = [...gpu.choices].sort();
    gpu.choices.clear();
    assert(importChoices(gpu, text));
    assertEquals([...gpu.choices].sort(), before);
    gpu.choices.clear();
    assert(!importChoices(gpu, JSON.stringify({ ...JSON.parse(text), adapter: "another" })));
    assertEquals(gpu.choices.size, 0);
  },
);

gpuTest("choices that are none are refused", (gpu) => {
  assertThrows(() => importChoices(gpu, "{"), Error, "not JSON");
  assertThrows(() => importChoices(gpu, "null"), Error, "choices");
  const odd = JSON.stringify({ choices: { "matmul NN 1 1 1": "fastest" } });
  assertThrows(() => importChoices(gpu, odd), Error, '"fastest"');
});

gpuTest("f16 is refused where there are no matrix units for it", async (gpu) => {
  if (gpu.facts.matrixUnits.length > 0) return;
  await assertRejects(() => chooseMatmul(gpu, shapes, { precision: "f16" }), Error, "no matrix units");
  gpu.choices.set("matmul", "matrix");
  const a = gpu.from(normals(16, 1), [4, 4], "a"), out = gpu.hold([4, 4], "out");
  try {
    assertThrows(() => gemm(gpu, "NN", a, a, out, { M: 4, N: 4, K: 4 }), Error, "no matrix units");
  } finally {
    gpu.choices.clear();
  }
});
