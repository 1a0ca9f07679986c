import { whiten, type WhitenOptions, whitenReference } from "../../kernels/whiten.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, gpuTest, normals, uniforms } from "./testing.ts";

const { B, T, last, rewards, advantages } = golden.ppo;
const cases: [string, number[][], WhitenOptions, number[][]][] = [
  ["advantages, mean removed", advantages, {}, golden.ppo.whitened],
  ["advantages, unbiased variance", advantages, { unbiased: true }, golden.ppo.whitenedUnbiased],
  [
    "rewards, mean kept, one slot beyond",
    rewards,
    { beyond: 1, shiftMean: false },
    golden.ppo.whitenedRewards,
  ],
];

for (const [name, x, options, expected] of cases) {
  gpuTest(`whitening is PyTorch's: ${name}`, async (gpu) => {
    const whitened = gpu.scope(() => {
      const tensor = gpu.from(Float32Array.from(x.flat()), [B, T], "x");
      return gpu.keep(whiten(gpu, tensor, gpu.from(Uint32Array.from(last), [B], "last"), options).whitened);
    });
    const [actual] = await gpu.read(whitened);
    assertClose(whitenReference(x.flat(), last, options).whitened, expected.flat(), 1e-10, "whitened in f64");
    assertClose(actual, expected.flat(), 1e-5, "whitened");
  });
}

gpuTest("whitening in groups of rows whitens each group by itself, far from zero too", async (gpu) => {
  const B = 37, T = 29, rowsPerGroup = 16, next = uniforms(3);
  const x = normals(B * T, 1).map((v) => 50 + v);
  const last = Uint32Array.from({ length: B }, () => Math.floor(next() * T));
  const kept = gpu.scope(() => {
    const result = whiten(gpu, gpu.from(x, [B, T], "x"), gpu.from(last, [B], "last"), { rowsPerGroup });
    return [gpu.keep(result.whitened), gpu.keep(result.moments)];
  });
  const [actual, moments] = await gpu.read(...kept);
  for (let g = 0; g * rowsPerGroup < B; g++) {
    const from = g * rowsPerGroup, to = Math.min(B, from + rowsPerGroup);
    const rows = last.slice(from, to);
    const expected = whitenReference(x.slice(from * T, to * T), rows);
    assertClose(actual.slice(from * T, to * T), expected.whitened, 5e-5, `group ${g}`);
    const count = rows.reduce((sum, end) => sum + end + 1, 0);
    assertClose(
      moments.slice(3 * g, 3 * g + 3),
      [count, expected.mean, expected.variance],
      1e-5,
      `moments ${g}`,
    );
  }
});

gpuTest("a single live slot is whitened to 0 under either variance", async (gpu) => {
  for (const unbiased of [false, true]) {
    const whitened = gpu.scope(() => {
      const x = gpu.from(new Float32Array([3, 9]), [1, 2], "x"),
        last = gpu.from(new Uint32Array(1), [1], "last");
      return gpu.keep(whiten(gpu, x, last, { unbiased }).whitened);
    });
    const [actual] = await gpu.read(whitened);
    assertClose(actual, [0, 0]);
  }
});
