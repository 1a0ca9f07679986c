import { assertEquals } from "deno-std/assert/mod.js";
import { firstEos, firstEosReference, liveSlots, maskAfter } from "../../kernels/first_eos.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { gpuTest, uniforms } from "./testing.ts";

gpuTest("the first EOS is found first, last, in between and twice, or reported missing", async (gpu) => {
  const { tokens, eos, last, hasEos, B, T } = golden.ppo;
  const found = gpu.scope(() => {
    const result = firstEos(gpu, gpu.from(Uint32Array.from(tokens.flat()), [B, T], "tokens"), eos);
    return [gpu.keep(result.last), gpu.keep(result.hasEos)];
  });
  const [actualLast, actualHas] = await gpu.readU32(...found);
  assertEquals([...actualLast], last);
  assertEquals([...actualHas], hasEos);
  assertEquals(firstEosReference(tokens.flat(), T, eos), { last, hasEos });
});

for (const [B, T] of [[1, 1], [65, 1], [130, 7]]) {
  gpuTest(`the ends of ${B} responses of ${T} tokens are those of a plain loop`, async (gpu) => {
    const next = uniforms(B);
    const tokens = Uint32Array.from({ length: B * T }, () => Math.floor(4 * next()));
    const found = gpu.scope(() => {
      const result = firstEos(gpu, gpu.from(tokens, [B, T], "tokens"), 0);
      return [gpu.keep(result.last), gpu.keep(result.hasEos)];
    });
    const [last, hasEos] = await gpu.readU32(...found);
    assertEquals({ last: [...last], hasEos: [...hasEos] }, firstEosReference(tokens, T, 0));
  });
}

gpuTest("masking keeps the live slots to the bit and drops NaN after them", async (gpu) => {
  const x = new Float32Array([1, 2, NaN, 3, NaN, Infinity, 4, 5, 6]);
  const masked = gpu.scope(() => {
    const tensor = gpu.from(x, [3, 3], "x"), last = gpu.from(new Uint32Array([1, 0, 2]), [3], "last");
    return [
      gpu.keep(maskAfter(gpu, tensor, last, { fill: 1 })),
      gpu.keep(maskAfter(gpu, tensor, last, { beyond: 1 })),
    ];
  });
  const [policy, critic] = await gpu.read(...masked);
  assertEquals([...policy], [1, 2, 1, 3, 1, 1, 4, 5, 6]);
  assertEquals([...critic], [1, 2, NaN, 3, NaN, 0, 4, 5, 6]);
  assertEquals([...liveSlots([1, 0, 2], 3)], [0, 1, 3, 6, 7, 8]);
  assertEquals([...liveSlots([1, 0, 2], 3, 1)], [0, 1, 2, 3, 4, 6, 7, 8]);
});
