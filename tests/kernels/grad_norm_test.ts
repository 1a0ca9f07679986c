import { assertEquals } from "deno-std/assert/mod.js";
import { gradNorm } from "../../kernels/grad_norm.ts";
import golden from "../oracles/golden/adamw.json" with { type: "json" };
import { assertClose, gpuTest, normals } from "./testing.ts";

for (const { maxNorm, norm, clipped } of golden.clips) {
  gpuTest(`the norm and the clipped gradients are those of clip_grad_norm_ at ${maxNorm}`, async (gpu) => {
    const gradients = Float32Array.from(golden.gradients[0]);
    const results = gpu.scope(() => {
      const parts = [gpu.from(gradients.slice(0, 5), [5], "a"), gpu.from(gradients.slice(5), [6], "b")];
      const { norm, clipScale, nonFinite } = gradNorm(gpu, parts, { maxNorm });
      return [gpu.keep(norm), gpu.keep(clipScale), gpu.keep(nonFinite)];
    });
    const [actual, scale, strays] = await gpu.read(...results);
    assertClose(actual, [norm], 1e-6, "norm");
    assertClose(gradients.map((v) => v * scale[0]), clipped, 1e-6, "clipped gradients");
    assertEquals(strays[0], 0);
  });
}

gpuTest("the norm of large and odd-sized tensors agrees with f64, and repeats bit for bit", async (gpu) => {
  const parts = [normals(300_001, 1), normals(1, 2), normals(4096, 3, 10)];
  const expected = 0.5 * Math.sqrt(parts.flatMap((part) => [...part]).reduce((sum, v) => sum + v * v, 0));
  const measure = () =>
    gpu.scope(() => {
      const tensors = parts.map((part, i) => gpu.from(part, [part.length], `part ${i}`));
      const { norm, clipScale } = gradNorm(gpu, tensors, { maxNorm: 1, scale: 0.5 });
      return gpu.read(gpu.keep(norm), gpu.keep(clipScale));
    });
  const [norm, scale] = await measure();
  assertClose(norm, [expected], 2e-6, "norm");
  assertClose(scale, [0.5 / expected], 2e-6, "clipScale");
  assertEquals((await measure()).map((v) => v[0]), [norm[0], scale[0]]);
});

gpuTest("non-finite gradients are counted and make the clip scale 0", async (gpu) => {
  const gradients = normals(1000, 1);
  gradients[3] = NaN;
  gradients[500] = Infinity;
  gradients[999] = -Infinity;
  const [scale, strays] = await gpu.scope(() => {
    const { clipScale, nonFinite } = gradNorm(gpu, [gpu.from(gradients, [1000], "gradients")], {
      maxNorm: 1,
    });
    return gpu.read(gpu.keep(clipScale), gpu.keep(nonFinite));
  });
  assertEquals([scale[0], strays[0]], [0, 3]);
});
