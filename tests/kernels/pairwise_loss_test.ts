import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { pairwiseLoss, pairwiseLossReference, pairwiseSums } from "../../kernels/pairwise_loss.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

gpuTest("the pairwise loss, its accuracy and its gradients are PyTorch's", async (gpu) => {
  const { chosen: c, rejected: r, margin, loss, accuracy, dchosen, drejected } = golden.pairwise;
  const P = c.length;
  const chosen = parameter(gpu, Float32Array.from(c), [P], "chosen");
  const rejected = parameter(gpu, Float32Array.from(r), [P], "rejected");
  const kept = gpu.scope(() => {
    const margins = gpu.from(Float32Array.from(margin), [P], "margin");
    let right = gpu.constant(0);
    const value = gpu.differentiate(() => {
      const result = pairwiseLoss(gpu, chosen, rejected, { margin: margins });
      right = result.accuracy;
      return result.loss;
    });
    return [gpu.keep(value), gpu.keep(right)];
  });
  const [value, right, dc, dr] = await gpu.read(...kept, chosen.grad!, rejected.grad!);
  assertClose(value, [loss], 1e-6, "loss");
  assertClose(right, [accuracy], 1e-6, "accuracy");
  assertClose(dc, dchosen, 1e-5, "dchosen");
  assertClose(dr, drejected, 1e-5, "drejected");
});

for (const P of [1, 3, 64, 201]) {
  gpuTest(
    `scores of ${P} chosen, then ${P} rejected, in one tensor give the f64 loss and gradient`,
    async (gpu) => {
      const data = normals(2 * P, P, 2);
      const scores = parameter(gpu, data, [2 * P], "scores");
      const sums = gpu.persistent([pairwiseSums.length], "sums");
      const run = () =>
        gpu.scope(() =>
          gpu.keep(gpu.differentiate(() => pairwiseLoss(gpu, scores, null, { margin: 0.5, into: sums }).loss))
        );
      run();
      const [loss, gradient, totals] = await gpu.read(run(), scores.grad!, sums);
      const chosen = data.slice(0, P), rejected = data.slice(P);
      const expected = pairwiseLossReference(chosen, rejected, 0.5);
      assertClose(loss, [expected.loss], 1e-5, "loss");
      const twice = [...expected.dchosen, ...expected.drejected].map((v) => 2 * v);
      assertClose(gradient, twice, 1e-5, "gradient, accumulated over two passes");
      const margin = chosen.reduce((sum, v, i) => sum + v - rejected[i], 0);
      assertEquals(pairwiseSums, ["pairs", "loss", "correct", "margin", "chosen", "rejected"]);
      assertClose([...totals.slice(0, 4)], [
        2 * P,
        2 * P * expected.loss,
        2 * P * expected.accuracy,
        2 * margin,
      ], 1e-5);
      assertGradient((point) => pairwiseLossReference(point, rejected, 0.5).loss, chosen, expected.dchosen);
    },
  );
}

gpuTest("the pairwise loss is stable far from zero, and a tie counts as wrong", async (gpu) => {
  const results = gpu.scope(() => {
    const chosen = gpu.from(new Float32Array([200, -200, 20, 0]), [4], "chosen");
    const { loss, accuracy } = pairwiseLoss(gpu, chosen, gpu.from(new Float32Array(4), [4], "rejected"));
    const sure = pairwiseLoss(
      gpu,
      gpu.from(new Float32Array([20]), [1], "sure"),
      gpu.from(new Float32Array(1), [1], "zero"),
    );
    return [gpu.keep(loss), gpu.keep(accuracy), gpu.keep(sure.loss)];
  });
  const [loss, accuracy, sure] = await gpu.read(...results);
  assertClose(loss, [(200 + Math.log(2)) / 4], 1e-6);
  assertClose(accuracy, [0.5], 0);
  assertClose(sure, [Math.log1p(Math.exp(-20))], 1e-5, "a loss below f32's resolution of 1");
});

gpuTest("the pairwise loss refuses scores that do not pair up", (gpu) => {
  gpu.scope(() => {
    const three = gpu.empty([3], "three"), two = gpu.empty([2], "two");
    assertThrows(() => pairwiseLoss(gpu, three, null), Error, "do not form pairs");
    assertThrows(() => pairwiseLoss(gpu, three, two), Error, "do not form pairs");
  });
});
