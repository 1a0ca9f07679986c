import { assert, assertEquals } from "deno-std/assert/mod.js";
import attentionSource from "../../kernels/attention.wgsl" with { type: "text" };
import { Captures } from "../../kernels/capture.ts";
import { contractCost } from "../../kernels/contract.ts";
import { declaredKernels } from "../../kernels/kernel.ts";
import { matmul } from "../../kernels/matmul.ts";
import { recordDispatches, timeDispatch, writersOf } from "../../kernels/recorder.ts";
import { packSequences, uploadPacking } from "../../kernels/packing.ts";
import { rope } from "../../kernels/rope.ts";
import { rmsnorm } from "../../kernels/rmsnorm.ts";
import swigluSource from "../../kernels/swiglu.wgsl" with { type: "text" };
import { gpuTest, normals } from "./testing.ts";

gpuTest(
  "a recording tells kernels, places, tensors by their later names, who wrote what, and times",
  async (gpu) => {
    const x = gpu.from(normals(6 * 8, 1), [6, 8], "x"), weight = gpu.from(normals(8, 2), [8], "weight");
    const w = gpu.from(normals(5 * 8, 3), [5, 8], "w");
    gpu.captures = new Captures(["layers.0.*"]);
    const { dispatches, made, result } = await recordDispatches(
      gpu,
      () =>
        gpu.scope(() =>
          gpu.inside("layers.0", () => {
            const normed = gpu.named("norm", rmsnorm(gpu, x, weight, 1e-6));
            return gpu.named("out", matmul(gpu, normed, w));
          })
        ),
    );
    const kept = gpu.captures.hand();
    gpu.captures = null;
    assertEquals(
      kept.map(({ name }) => name),
      ["layers.0.norm", "layers.0.out"],
    );
    assertEquals(dispatches.length, 2); // the copies that captures make are no part of it
    const [first, second] = dispatches;
    assertEquals([first.path, first.kernel.name, first.params.T, first.params.D], [
      "layers.0",
      "rmsnorm",
      6,
      8,
    ]);
    const names = ({ bindings }: typeof first) =>
      bindings.map(({ name, tensor, label, access }) => [name, label ?? tensor.name, access]);
    assertEquals(names(first).slice(0, 3), [["x", "x", "read"], ["weight", "weight", "read"], [
      "y",
      "layers.0.norm",
      "write",
    ]]);
    const read = second.bindings.find(({ tensor }) => tensor.name === "layers.0.norm")!;
    assertEquals([read.producer, second.bindings.find(({ name }) => name === "out")?.tensor.name], [
      0,
      "layers.0.out",
    ]);
    assertEquals(first.bindings.map(({ producer }) => producer), new Array(4).fill(undefined));
    for (const { microseconds } of dispatches) {
      assertEquals(
        microseconds !== undefined && microseconds >= 0,
        gpu.facts.timestamps,
      );
    }
    assertEquals([...made], [["layers.0.norm", 0], ["layers.0.out", 1]]);
    assertEquals(["layers.0.out", "layers.0.norm", "x"].map((name) => writersOf(dispatches, made, name)), [
      [1],
      [0],
      [],
    ]);
    const again = await timeDispatch(gpu, first);
    assertEquals(again !== undefined && again > 0, gpu.facts.timestamps);
    assertEquals([gpu.recorder, gpu.profile], [null, null]);
    for (const tensor of [x, weight, w, result, ...kept.map(({ copy }) => copy)]) gpu.release(tensor);
  },
);

gpuTest("what the host wrote last has no dispatch behind it, though its memory had one", async (gpu) => {
  const a = gpu.hold([64], "a"), b = gpu.hold([64], "b"), c = gpu.hold([64], "c");
  const { dispatches } = await recordDispatches(gpu, () => {
    gpu.copy(b, a);
    gpu.addInto(c, b);
    gpu.upload(b, new Float32Array(64));
    gpu.addInto(c, b);
  });
  const producers = dispatches.map(({ bindings }) =>
    bindings.find(({ access }) => access === "read")!.producer
  );
  assertEquals(producers, [undefined, 0, undefined]);
  for (const tensor of [a, b, c]) gpu.release(tensor);
});

Deno.test("costs are read off the contracts", () => {
  const cost = (text: string, params: Record<string, number>, known = {}) =>
    contractCost({ source: text.split("\n").map((line) => `// ${line}`).join("\n") }, params, known);
  assertEquals(cost("Fixed tree. 12·T·D bytes, 4·T·D FLOPs.", { T: 3, D: 5 }), { bytes: 180, flops: 60 });
  assertEquals(cost("folded into x\nand y. 4·T·D + 8·N·D bytes, T·D FLOPs.", { T: 3, D: 5, N: 2 }), {
    bytes: 140,
    flops: 15,
  });
  assertEquals(
    cost("2·T·(Hq + Hkv)·hd·4 bytes, 6·T·(Hq + Hkv)·hd FLOPs.", { T: 2, hd4: 4 }, { Hq: 3, Hkv: 1 }),
    {
      bytes: 2 * 2 * 4 * 16 * 4,
      flops: 6 * 2 * 4 * 16,
    },
  );
  assertEquals(cost("x. 4 bytes and 2 FLOPs an element; more", { size: 10 }), { bytes: 40, flops: 20 });
  assertEquals(cost("x. 8 bytes per element.", { size: 10 }), { bytes: 80, flops: undefined });
  assertEquals(cost("x. 8·M bytes, no FLOPs.", { M: 10 }), { bytes: 80, flops: 0 });
  assertEquals(cost("x. 48 bytes a pair.", { size: 10 }), { bytes: undefined, flops: undefined });
  assertEquals(cost("x. 8·Q bytes.", {}), { bytes: undefined, flops: undefined });
});

Deno.test("the contracts of the kernels of a forward pass can be read", () => {
  const named = (name: string) => declaredKernels.find((kernel) => kernel.name === name)!;
  assertEquals(contractCost(named("rmsnorm"), { T: 2, D: 3 }), { bytes: 72, flops: 24 });
  assertEquals(contractCost(named("matmul_any"), { M: 2, N: 3, K: 4 }).flops, 48);
  assertEquals(contractCost(named("copy"), { size: 4 }), { bytes: 32, flops: undefined });
  assert(contractCost(named("add"), { size: 4 }).bytes === 48);
  const attention = { source: `const hd4 = 16u;\n${attentionSource}` };
  assertEquals(contractCost(attention, { Hq: 2, Hkv: 1 }, { pairs: 10 }).flops, 4 * 64 * 10);
  const swiglu = { source: swigluSource.replace("alias Element = f32", "alias Element = vec4f") };
  assertEquals(contractCost(swiglu, { T: 2, F: 3 }), { bytes: 12 * 2 * 12, flops: 10 * 2 * 12 });
});

gpuTest(
  "a tensor that is worked on in place has every one of the dispatches behind it, and no earlier tenant's",
  async (gpu) => {
    const lengths = [5];
    const { dispatches, made, result } = await recordDispatches(gpu, () =>
      gpu.scope(() => {
        const packing = uploadPacking(gpu, packSequences(lengths));
        const x = gpu.from(normals(5 * 8, 1), [5, 8], "x"), w = gpu.from(normals(24 * 8, 2), [24, 8], "w");
        const tenant = matmul(gpu, x, w); // its memory goes to the next one
        gpu.release(tenant);
        const projected = matmul(gpu, x, w);
        const shape = { queryHeads: 1, keyValueHeads: 1, headDim: 8, theta: 1e4 };
        return gpu.named("qkv", rope(gpu, projected, packing.positions, shape));
      }));
    const kernels = writersOf(dispatches, made, "qkv").map((index) => dispatches[index].kernel.name);
    assertEquals([kernels.length, kernels[1]], [2, "rope"]);
    assert(kernels[0].startsWith("matmul"));
    assertEquals(dispatches[made.get("qkv")!].bindings.find(({ name }) => name === "qkv")!.label, "qkv");
    gpu.release(result);
  },
);
