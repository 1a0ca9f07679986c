import { assertThrows } from "deno-std/assert/mod.js";
import { liveSlots, unusedSlot } from "../../kernels/first_eos.ts";
import {
  ppoValueLoss,
  ppoValueLossReference,
  valueStatistics,
  valueSums,
} from "../../kernels/ppo_value_loss.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

const { B, T, last, values, returns } = golden.ppo;

gpuTest("the value loss is PyTorch's in value, gradient and statistics", async (gpu) => {
  const slots = liveSlots(last, T, 1), R = slots.length;
  const data = Float32Array.from(slots, (slot) => golden.ppo.valueNew.flat()[slot]);
  const options = { denominator: R, clipRange: 0.2 };
  const value = parameter(gpu, data, [R], "value");
  const sums = gpu.persistent([valueSums.length], "sums");
  const kept = gpu.scope(() => {
    const tensors = {
      slots: gpu.from(slots, [R], "slots"),
      oldValues: gpu.from(Float32Array.from(values.flat()), [B, T], "old"),
      returns: gpu.from(Float32Array.from(returns.flat()), [B, T], "returns"),
    };
    return gpu.keep(
      gpu.differentiate(() => ppoValueLoss(gpu, { value, ...tensors }, { ...options, into: sums }).loss),
    );
  });
  const [loss, gradient, totals] = await gpu.read(kept, value.grad!, sums);
  const expected = golden.ppo.value;
  const host = { value: data, slots, oldValues: values.flat(), returns: returns.flat() };
  const inF64 = ppoValueLossReference(host, options);
  const dense = Array.from(slots, (slot) => expected.gradient.flat()[slot]);
  assertClose([inF64.loss], [expected.loss], 1e-9, "loss in f64");
  assertClose(inF64.gradient, dense, 1e-9, "gradient in f64");
  assertClose(loss, [expected.loss], 1e-5, "loss");
  assertClose(gradient, dense, 1e-5, "gradient");
  for (let i = 0; i < valueSums.length; i++) assertClose([totals[i]], [inF64.sums[i]], 1e-5, valueSums[i]);
  const statistics = valueStatistics(totals);
  assertClose([statistics["val/clipfrac_avg"]], [expected.clipfrac], 1e-6);
  assertClose([statistics["val/error"]], [expected.meanError], 1e-5);
  assertClose([statistics["val/explained_variance"]], [expected.explainedVariance], 1e-5);
  assertGradient(
    (point) => ppoValueLossReference({ ...host, value: point }, options).loss,
    data,
    inF64.gradient,
  );
});

for (const clipRange of [0.1, null]) {
  gpuTest(
    `the value loss over unused rows and many slots agrees with f64, clip ${clipRange}`,
    async (gpu) => {
      const R = 333, slotCount = 400, options = { denominator: 77, clipRange };
      const data = normals(R, 1), oldValues = normals(slotCount, 2), returns = normals(slotCount, 3);
      const slots = Uint32Array.from(data, (_, r) => r % 10 === 9 ? unusedSlot : (r * 7) % slotCount);
      const value = parameter(gpu, data, [R], "value");
      const loss = gpu.scope(() => {
        const tensors = {
          slots: gpu.from(slots, [R], "slots"),
          oldValues: gpu.from(oldValues, [slotCount], "old"),
          returns: gpu.from(returns, [slotCount], "returns"),
        };
        return gpu.keep(gpu.differentiate(() => ppoValueLoss(gpu, { value, ...tensors }, options).loss));
      });
      const [actual, gradient] = await gpu.read(loss, value.grad!);
      const expected = ppoValueLossReference({ value: data, slots, oldValues, returns }, options);
      assertClose(actual, [expected.loss], 1e-5, "loss");
      assertClose(gradient, expected.gradient, 1e-5, "gradient");
    },
  );
}

gpuTest("a value loss whose sizes do not fit is refused", (gpu) => {
  gpu.scope(() => {
    const four = gpu.empty([4], "four"), slots = gpu.empty([4], "slots", "u32");
    const inputs = { value: four, slots, oldValues: four, returns: gpu.empty([5], "returns") };
    assertThrows(() => ppoValueLoss(gpu, inputs, { denominator: 1, clipRange: 0.2 }), Error, "5 returns");
  });
});
