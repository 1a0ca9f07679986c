import { assert, assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { rmsnormReference } from "../../../kernels/rmsnorm.ts";
import { swigluReference } from "../../../kernels/swiglu.ts";
import { sha256Of } from "../../../lab/bytes.ts";
import { compareValues } from "../../../lab/notebook/digests.ts";
import { Tensor } from "../../../lab/notebook/handles.ts";
import { assertClose, assertGradient, normals } from "../../kernels/testing.ts";
import { labTest, testCell } from "./lab_testing.ts";

labTest("tensors: values, elements, statistics and digests of what was put there", async ({ lab }) => {
  const x = await lab.tensor([[1, 2, 3], [4, NaN, -6]], null, { name: "x" });
  assertEquals(x.shape, [2, 3]);
  assertEquals(String(x), "Tensor x f32[2, 3]");
  assertEquals([...await x.values()], [1, 2, 3, 4, NaN, -6]);
  assertEquals([...await x.values(2, 4)], [3, 4]);
  assertEquals(await x.at(1, 2), -6);
  const { nan, count, min, max, mean, absmax } = await x.stats();
  assertEquals({ nan, count, min, max, mean, absmax }, {
    nan: 1,
    count: 6,
    min: -6,
    max: 4,
    mean: 0.8,
    absmax: 6,
  });
  const ids = await lab.tensor(Uint32Array.of(1, 2 ** 32 - 1));
  assertEquals([ids.dtype, ...await ids.values()], ["u32", 1, 2 ** 32 - 1]);
  assertEquals(await ids.digest(), await sha256Of(Uint8Array.of(1, 0, 0, 0, 255, 255, 255, 255)));
  await assertRejects(() => x.at(2, 0), RangeError, "there is no element [2,0]");
  await assertRejects(() => x.values(0, 7), RangeError, "6 elements");
  await assertRejects(() => lab.tensor([1, 2, 3], [2, 2]), RangeError, "3 numbers cannot fill [2,2]");
  await assertRejects(() => lab.tensor("x" as never), TypeError, "lab.tensor: the values should be numbers");
});

labTest("gradients through matmul, rmsnorm and swiglu are those of the reference", async ({ lab }) => {
  const T = 3, D = 8, F = 4;
  const at = { x: normals(T * D, 1), norm: normals(D, 2), weight: normals(2 * F * D, 3) };
  const x = await lab.tensor(at.x, [T, D]), norm = await lab.tensor(at.norm, [D]);
  const weight = await lab.tensor(at.weight, [2 * F, D]);
  const normed = await lab.ops.rmsnorm(x, norm);
  const loss = await lab.ops.sum(await lab.ops.swiglu(await lab.ops.matmul(normed, weight)));
  const lossAt = (of: Partial<Record<keyof typeof at, Float64Array>>) => {
    const all = { ...at, ...of };
    const { y } = rmsnormReference(all.x, all.norm, 1e-6);
    const gateUp = Float64Array.from({ length: T * 2 * F }, (_, i) => {
      let sum = 0;
      for (let d = 0; d < D; d++) {
        sum += y[Math.floor(i / (2 * F)) * D + d] * all.weight[(i % (2 * F)) * D + d];
      }
      return sum;
    });
    return swigluReference(gateUp, F).y.reduce((sum, value) => sum + value, 0);
  };
  assertClose([await loss.item()], [lossAt({})], 1e-4);
  const gradients = await lab.differentiate(loss, { x, norm, weight, normed });
  for (const name of ["x", "norm", "weight"] as const) {
    assertGradient((point) => lossAt({ [name]: point }), at[name], await gradients[name].values(), {
      tolerance: 2e-3,
    });
  }
  assertEquals(gradients.normed.shape, [T, D]);
  const [again] = await lab.differentiate(loss, [x]);
  assertEquals(await again.values(), await gradients.x.values());
});

labTest("PPO's own operations: rewards, advantages, whitening, clipped loss", async ({ lab }) => {
  const tokens = await lab.tensor(Uint32Array.of(5, 9, 2, 0, 5, 5, 5, 5), [2, 4]);
  const { last, hasEos } = await lab.ops.firstEos(tokens, 2);
  assertEquals([...await last.values(), ...await hasEos.values()], [2, 3, 1, 0]);
  const logprob = await lab.tensor([[-1, -1, -1, -1], [-2, -2, -2, -2]]);
  const reference = await lab.tensor([[-1, -2, -1, -1], [-2, -2, -2, -2]]);
  const scores = await lab.tensor([3, 5]);
  const { reward } = await lab.ops.klReward({ logprob, reference, last, hasEos, scores }, {
    beta: 0.5,
    scoreSlot: "last",
  });
  assertClose(await reward.values(), [0, -0.5, 3, 0, 0, 0, 0, -1]);
  const values = await lab.tensor(new Float32Array(8), [2, 4]);
  const { advantages } = await lab.ops.gae(reward, values, { gamma: 1, lambda: 1 });
  assertClose((await advantages.values()).slice(0, 3), [2.5, 2.5, 3]);
  const { whitened } = await lab.ops.whiten(advantages, last);
  const { loss } = await lab.ops.ppoPolicyLoss({ logprob, oldLogprob: logprob, advantages: whitened });
  const gradient = await lab.differentiate(loss, logprob);
  // At ratio 1 nothing is clipped: the slope is −A over the count.
  assertClose(await gradient.values(), (await whitened.values()).map((value) => -value / 8));
  await assertRejects(() => lab.differentiate(loss, advantages), RangeError, "does not depend on advantages");
});

labTest(
  "a kernel of one's own with its gradient; what is wrong with one is told and harms nothing",
  async ({ lab, bench }) => {
    const head = "@group(0) @binding(0) var<storage, read> x: array<f32>;\n";
    const wgsl = `struct Params { factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&x)) { y[id.x] = params.factor * x[id.x] * x[id.x]; }
  if (id.x == 0u) { y[0] += f32(arrayLength(&x)); }
}`;
    const gradient = `struct Params { factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> d_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&x)) { d_x[id.x] = 2.0 * params.factor * x[id.x] * d_y[id.x]; }
}`;
    const x = await lab.tensor([1, 2, 3]);
    const params = { factor: 0.5 };
    const { y } = await lab.kernel({
      name: "square",
      wgsl,
      inputs: { x },
      outputs: { y: [3] },
      params,
      gradient: { wgsl: gradient, params },
    });
    assertEquals([...await y.values()], [3.5, 2, 4.5]);
    const loss = await lab.ops.sum(await lab.ops.scale(y, 10));
    assertEquals([...await (await lab.differentiate(loss, x)).values()], [10, 20, 30]);

    const wrong = (definition: Partial<Parameters<typeof lab.kernel>[0]>) =>
      lab.kernel({ name: "mine", wgsl, inputs: { x }, outputs: { y: [3] }, params, ...definition });
    await assertRejects(
      () => wrong({ wgsl: wgsl.replace("x[id.x] * x", "x[id.x] * z") }),
      Error,
      "mine is wrong",
    );
    await assertRejects(() => wrong({ params: {} }), Error, 'scalar "factor"');
    await assertRejects(() => wrong({ inputs: {} }), Error, 'binds "x" as read, but there is no such input');
    await assertRejects(() => wrong({ outputs: { z: [3] } }), Error, "there is no such output");
    await assertRejects(() => wrong({ workgroups: [1 << 20, 1, 1] }), Error, "1048576");
    await assertRejects(() => wrong({ wgsl: head + "fn main() {}" }), Error, "mine");
    await assertRejects(() => wrong({ wgsl: "nonsense" }), Error, 'no entry point "main"');
    // The device is as well as before.
    assertEquals([...await (await lab.ops.scale(x, 2)).values()], [2, 4, 6]);
    await (await bench.gpu()).finish();
  },
);

labTest(
  "what a cell made is freed when it runs again, and counted until then",
  async ({ lab, host, cells }) => {
    const kept = await lab.tensor(new Float32Array(1000));
    cells.current = testCell("b");
    const mine = await lab.tensor(new Float32Array(500), null, { name: "mine" });
    const twice = await lab.ops.scale(kept, 2);
    assertEquals((await lab.memory()).map(({ cell, bytes }) => [cell, bytes]), [["a", 4000], ["b", 2000], [
      "b",
      4000,
    ]]);
    await host.call({ cell: "b", to: 0, method: "begin", args: [] }, () => {});
    assertEquals((await lab.memory()).length, 1);
    await assertRejects(() => mine.values(), Error, "the cell that made it has run again");
    await assertRejects(() => lab.ops.add(twice, kept), Error, "no longer there");
    await kept.free();
    assertEquals(host.memory(), []);
  },
);

labTest(
  "models: weights, summaries, ids, what passes through them and its gradients",
  async ({ lab, cells }) => {
    const model = await lab.model("base");
    assertEquals(await lab.model("base"), model);
    assertEquals([model.place, model.reward, model.config.layers], ["base", false, 3]);
    assert((await model.tensors("*.mlp.*")).every(({ name }) => name.includes(".mlp.")));
    const weight = await model.tensor("model.layers.0.self_attn.k_proj.weight");
    const held = await lab.ops.scale(weight, 1);
    assertEquals(await held.values(), await weight.values());
    const [post] = await lab.posts("test", { count: 1 });
    const heard: string[] = [];
    const written = await model.summarise(post, {}, ({ text }) => heard.push(text));
    assertEquals(heard.length, written.tokens.length);
    const rated = await model.rate(post, written.text);
    assertEquals(rated.text, written.text);
    const ids = await lab.encode("So yesterday I");
    assertEquals(await lab.decode(ids), "So yesterday I");
    assertEquals((await model.logprobs(ids)).length, ids.length - 1);
    assertEquals((await model.generate(ids, { count: 3 })).length, 3);
    const seen = await model.capture(ids, ["hidden", "weights.layers.1.mlp.down.weight"], {
      gradients: true,
    });
    assertEquals(Object.keys(seen), ["hidden", "hidden.grad", "weights.layers.1.mlp.down.weight.grad"]);
    assert((await seen["hidden.grad"].stats()).absmax > 0);
    await assertRejects(() => model.score(post, "x"), RangeError, "gives no score");
    await assertRejects(() => model.logprobs([1e6, 2]), RangeError, "outside the vocabulary");
    await assertRejects(() => lab.model("nowhere"), Error);

    await lab.show(weight);
    const [{ data }] = cells.current.shown;
    assertEquals(Object.keys(data), ["application/vnd.precis.tensor+json", "image/png", "text/plain"]);
    const shown = data["application/vnd.precis.tensor+json"] as { name: string; place?: string };
    assertEquals([shown.place, shown.name], ["base", "model.layers.0.self_attn.k_proj.weight"]);
    assertEquals(held.place, undefined);
    assertEquals(cells.current.records[0].tier, "B");
  },
);

labTest(
  "greedy summaries are kept with how near the second best came, drawn ones without",
  async ({ lab, cells }) => {
    const [post] = await lab.posts("test", { count: 1 });
    await lab.post(post, { models: ["base"] });
    const [record] = cells.current.records;
    const { tokens } = await (await lab.model("base")).summarise(post);
    assertEquals([record.name, record.tier], ["summary of base", "A"]);
    assertEquals(record.greedy!.ids, tokens.map(({ id }) => id).join(" "));
    const margins = record.greedy!.margins.split(" ").map(Number);
    margins.forEach((margin, t) => assertAlmostEquals(margin / tokens[t].margin!, 1, 0.05));
    assertEquals(record.margin, Math.min(...tokens.map(({ margin }) => margin!)));

    await lab.post(post, { models: ["base"], temperature: 1 });
    assertEquals([cells.current.records[1].tier, cells.current.records[1].greedy], ["A", undefined]);
    await lab.record("own", tokens.map(({ id }) => id), { margins: tokens.map(({ margin }) => margin!) });
    assertEquals(cells.current.records[2].greedy, record.greedy);
    await assertRejects(() => lab.record("own", [1, 2], { margins: [1] }), RangeError, "2 ids and 1 margins");
    await assertRejects(() => lab.record("own", "text", { margins: [1] }), TypeError, "a list of token ids");
  },
);

labTest("a reward model scores", async ({ lab }) => {
  const model = await lab.model("reward");
  const [post] = await lab.posts("test", { count: 1 });
  const { score, tokens } = await model.score(post, post.summary);
  assertEquals(score, tokens.at(-1)!.score);
  await assertRejects(() => model.summarise(post), RangeError, "is a reward model");
});

labTest("a stranger's notebook gets what it was granted", async ({ lab }) => {
  await assertRejects(() => lab.model("/etc"), Error, "may not open the model /etc");
  await assertRejects(() => lab.encode("x", "../.."), Error, "may not open the model");
  await assertRejects(() => lab.fetch("http://127.0.0.1:1/"), Error, '"network:127.0.0.1:1"');
  await assertRejects(() => lab.fetch("file:///etc/passwd"), Error, "may not fetch from file:");
  await assertRejects(
    () => lab.read("../demo/base/config.json"),
    TypeError,
    "a path below the notebooks' folder",
  );
  await assertRejects(() => lab.read("%2e%2e/x"), TypeError, "a path below the notebooks' folder");
  await assertRejects(() => lab.tensor(new Float32Array(1e6)), Error, "needs 3.8 MiB on the device");
  const x = await lab.tensor(new Float32Array(2e5));
  const y = await lab.ops.scale(x, 2);
  await assertRejects(() => lab.ops.scale(y, 2), Error, "on the device");
}, { models: [], network: [], deviceBytes: 2 << 20 });

labTest(
  "records of numbers are held to the tolerance that they are given, on another stack",
  async ({ lab, cells }) => {
    const tolerance = { absolute: 0.05, relative: 0 };
    await lab.record("measured", { loss: 0.5, accuracy: 0.75 }, { tolerance });
    await lab.record("measured", { accuracy: 0.76, loss: 0.5 }, { tolerance });
    await lab.record("measured", { accuracy: 0.85, loss: 0.5 }, { tolerance });
    await lab.record("list", [1, 2], { tolerance });
    await lab.record("exact", { loss: 0.5 });
    const [stored, near, far, list, exact] = cells.current.records;
    assertEquals([stored.tier, list.tier, exact.tier], ["B", "B", "A"]);
    assertEquals(stored.sketch!.samples, [0.75, 0.5]);
    const elsewhere = (found: typeof near) =>
      compareValues(stored, { ...found, stack: "0".repeat(64) }).verdict;
    assertEquals([elsewhere(near), elsewhere(far)], ["verified", "differs"]);
    // On its own stack it must be the same to the bit.
    assertEquals(compareValues(stored, near).verdict, "differs");
    await assertRejects(
      () => lab.record("words", { said: "yes" }, { tolerance }),
      TypeError,
      "should be numbers",
    );
  },
);

labTest("no time on the GPU, no GPU", async ({ lab }) => {
  await assertRejects(() => lab.tensor([1]), Error, "has used its 0 s of GPU time");
}, { gpuSeconds: 0 });

labTest("shown in Jupyter by its own symbol", async ({ lab }) => {
  const x = await lab.tensor([[1, 2], [3, 4]]);
  assert(x instanceof Tensor);
  const show =
    (x as unknown as Record<symbol, () => Promise<Record<string, string>>>)[Symbol.for("Jupyter.display")];
  const bundle = await show.call(x);
  assert(bundle["image/png"].startsWith("iVBORw0KGgo"));
  assertEquals(bundle["text/plain"], "tensor f32[2, 2]  mean 2.500, rms 2.739, 1 to 4");
});
