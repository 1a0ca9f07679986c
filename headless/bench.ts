/**
 * `deno task bench`: how fast the engine is, beside jax-js and tfjs on the same adapter in the same process. What it prints is what the log
 * in tests/bench/LOG.md keeps.
 */
import process from "node:process";
import { elementwise, type Gpu } from "../kernels/gpu.ts";
import { kernel } from "../kernels/kernel.ts";
import { crossEntropy } from "../kernels/logprob.ts";
import { type Form, gemm, type Shape } from "../kernels/matmul.ts";
import { chooseMatmul, formatTrials } from "../kernels/matmul_choice.ts";
import { mebibytes } from "../kernels/memory.ts";
import { boolean, choice } from "../lab/config_fields.ts";
import { jaxPeer, type Peer, tfjsPeer } from "./bench_peers.ts";
import { benchStep } from "./bench_step.ts";
import { verdictTable } from "./bench_verdict.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "bench",
  about:
    "measures products, a training step, encoding and memory, the first two beside jax-js and tfjs on the same adapter.",
  own: {
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "Whose WebGPU: Dawn's or Deno's own" }),
    what: choice(["all", "matmul", "step", "encode", "memory"], "all", { doc: "Which part" }),
    peers: boolean(true, {
      doc:
        "Measure jax-js and tfjs too: fetched from npm once, left out where that fails; always on Deno's own WebGPU",
    }),
    cpu: boolean(false, {
      doc: "Count the processor's time instead of the clock's: for a software adapter on a busy machine",
    }),
    json: boolean(false, { doc: "Print JSON" }),
  },
  examples: [
    ["deno task bench", "everything, on the default device"],
    ["deno task bench --what matmul --cpu", "products only, while other programs run"],
    ["deno task bench --no-peers", "the engine alone: nothing is fetched, and there is no verdict"],
  ],
} as const;

/** One line of the table of products. GFLOP/s; null where a peer was not measured. */
export interface MatmulRow extends Shape {
  /** Where the shape comes from. */
  where: string;
  ours: number;
  jax: number | null;
  tfjs: number | null;
  /** GB/s if each operand and the result moved once. */
  gigabytesPerSecond: number;
}

export interface BenchReport {
  adapter: string;
  driver: string;
  runtime: string;
  clock: "wall" | "processor";
  matmul?: MatmulRow[];
  encode?: Encoding;
  memory?: LogprobMemory;
  step?: StepRow;
}

// ---- timing ----

/** Seconds since some moment: of the clock, or of the processor shared out over its cores. */
type Clock = () => number;

const wall: Clock = () => performance.now() / 1000;
const cores = navigator.hardwareConcurrency;
const processor: Clock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6 / cores;
};

/** Seconds a call by each of several contestants, taken in turns so that a busy machine is unfair to none; the best of three. */
export async function race(
  contestants: readonly ((calls: number) => Promise<void>)[],
  clock: Clock,
  budget = 0.15,
): Promise<number[]> {
  const time = async (run: (calls: number) => Promise<void>, calls: number) => {
    const start = clock();
    await run(calls);
    return (clock() - start) / calls;
  };
  const calls: number[] = [], best = contestants.map(() => Infinity);
  for (const run of contestants) {
    await run(1); // compiles
    const start = performance.now();
    await run(1);
    calls.push(Math.max(1, Math.min(500, Math.ceil(budget * 1000 / (performance.now() - start)))));
  }
  for (let round = 0; round < 3; round++) {
    for (const [i, run] of contestants.entries()) best[i] = Math.min(best[i], await time(run, calls[i]));
  }
  return best;
}

// ---- products ----

/** Squares, and what the layers of the demo's model and of Qwen2.5-0.5B ask for: y = x·Wᵀ and its gradients. */
function matmulShapes(software: boolean): (Shape & { where: string })[] {
  const linear = (where: string, T: number, D: number, N: number) => [
    { where: `${where} y`, form: "NT" as Form, M: T, N, K: D },
    { where: `${where} dx`, form: "NN" as Form, M: T, N: D, K: N },
    { where: `${where} dW`, form: "TN" as Form, M: N, N: D, K: T },
  ];
  const qwen = (tokens: number) => [
    ...linear("Qwen attention", tokens, 896, 896),
    ...linear("Qwen up", tokens, 896, 4864),
    ...linear("Qwen down", tokens, 4864, 896),
  ];
  return [
    { where: "square", form: "NN", M: 512, N: 512, K: 512 },
    { where: "square", form: "NN", M: 1024, N: 1024, K: 1024 },
    ...software ? [] : [{ where: "square", form: "NN" as Form, M: 4096, N: 4096, K: 4096 }],
    ...linear("demo attention", 2048, 64, 128),
    ...linear("demo up", 2048, 64, 384),
    ...qwen(software ? 256 : 4096),
    ...qwen(64), // a small microbatch, or a decoding step of 64 sequences
  ];
}

async function benchMatmul(gpu: Gpu, peers: readonly Peer[], clock: Clock): Promise<MatmulRow[]> {
  const rows: MatmulRow[] = [];
  for (const shape of matmulShapes(gpu.facts.software)) {
    const { form, M, N, K, where } = shape;
    const as = numbers(M * K), bs = numbers(N * K);
    const a = gpu.from(as, [M * K], "bench a"), b = gpu.from(bs, [N * K], "bench b");
    const out = gpu.hold([M, N], "bench out");
    const ours = async (calls: number) => {
      for (let i = 0; i < calls; i++) gemm(gpu, form, a, b, out, { M, N, K });
      await gpu.finish();
    };
    const theirs = await Promise.all(peers.map((peer) => peer.product(shape, as, bs)));
    const seconds = await race([ours, ...theirs.map(({ run }) => run)], clock);
    const [mine] = await gpu.read(out);
    for (const [i, peer] of theirs.entries()) {
      agree(mine, await peer.result(), `${peers[i].name} ${form} ${M}×${N}×${K}`);
    }
    for (const peer of theirs) peer.drop();
    for (const tensor of [a, b, out]) gpu.release(tensor);
    const [gflops, ...others] = seconds.map((s) => 2 * M * N * K / s / 1e9);
    const of = (name: string) => others[peers.findIndex((peer) => peer.name === name)] ?? null;
    const gigabytesPerSecond = 4 * (M * K + N * K + M * N) / seconds[0] / 1e9;
    rows.push({
      where,
      form,
      M,
      N,
      K,
      ours: gflops,
      jax: of("jax-js"),
      tfjs: of("tfjs"),
      gigabytesPerSecond,
    });
  }
  gpu.trim();
  return rows;
}

function numbers(count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => ((i * 7919) % 1013) / 1013 - 0.5);
}

/** @throws if two products differ by more than f32's rounding: then a comparison of their speed means nothing. */
function agree(ours: Float32Array, theirs: ArrayLike<number>, what: string): void {
  let worst = 0, largest = 0;
  for (let i = 0; i < ours.length; i++) {
    worst = Math.max(worst, Math.abs(ours[i] - theirs[i]));
    largest = Math.max(largest, Math.abs(ours[i]));
  }
  if (!(worst <= 1e-4 * largest + 1e-3)) throw new Error(`${what}: results differ by ${worst}`);
}

// ---- encoding ----

export interface Encoding {
  /** Host time to encode one warm dispatch of the same kernel and tensors. */
  copyMicroseconds: number;
  /** The same through the whole launcher of a product: choice, checks, fifteen scalars. */
  gemmMicroseconds: number;
  /** What WebGPU itself takes: pipeline, bind group, dispatch, with no engine around it. */
  bareMicroseconds: number;
}

const touch = kernel(
  "bench_touch",
  `struct Params { size: u32, value: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.size) { y[id.x] = params.value; }
}`,
);

async function benchEncode(gpu: Gpu): Promise<Encoding> {
  const y = gpu.hold([64], "bench y"), x = gpu.hold([64, 4], "bench x"), w = gpu.hold([4, 4], "bench w");
  const out = gpu.hold([64, 4], "bench out"), dispatches = 2000;
  const encode = async (one: () => void) => {
    let best = Infinity;
    for (let round = 0; round < 8; round++) {
      const start = performance.now();
      for (let i = 0; i < dispatches; i++) one();
      best = Math.min(best, performance.now() - start);
      await gpu.finish();
    }
    return best / dispatches * 1000;
  };
  const copyMicroseconds = await encode(() =>
    gpu.run(touch, { y }, { size: 64, value: 1 }, elementwise(y.size))
  );
  const gemmMicroseconds = await encode(() =>
    gemm(gpu, "NT", x, w, out, { M: 64, N: 4, K: 4, variant: "any" })
  );
  const bareMicroseconds = await bareEncode(gpu, dispatches);
  for (const tensor of [x, y, w, out]) gpu.release(tensor);
  return { copyMicroseconds, gemmMicroseconds, bareMicroseconds };
}

async function bareEncode(gpu: Gpu, dispatches: number): Promise<number> {
  const { device } = gpu;
  const module = device.createShaderModule({
    code: touch.source.replace(/struct Params[^}]*}\n.*params: Params;\n/, "").replace("params.size", "64u")
      .replace("params.value", "1.0"),
  });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 1, resource: { buffer } }],
  });
  let best = Infinity;
  for (let round = 0; round < 8; round++) {
    const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
    const start = performance.now();
    for (let i = 0; i < dispatches; i++) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(1);
    }
    best = Math.min(best, performance.now() - start);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  }
  buffer.destroy();
  return best / dispatches * 1000;
}

// ---- memory ----

export interface LogprobMemory {
  rows: number;
  vocabulary: number;
  /** What the logits would take in f32. */
  logitsBytes: number;
  /** Pooled memory in use at its highest while a loss over them was computed, and its gradients. */
  peakBytes: number;
}

/** The loss of 4,096 rows over Qwen2's vocabulary, with a narrow head so that a CPU can do it too: width changes no scratch. */
function benchMemory(gpu: Gpu): LogprobMemory {
  const rows = 4096, vocabulary = 151_936, D = 8;
  const hidden = gpu.persistent([rows, D], "bench hidden"),
    head = gpu.persistent([vocabulary, D], "bench head");
  for (const tensor of [hidden, head]) {
    tensor.requiresGrad = true;
    tensor.grad = gpu.persistent(tensor.shape, `${tensor.name} gradient`);
  }
  const before = gpu.memory.pooledBytesInUse;
  gpu.memory.resetPeak();
  gpu.scope(() => {
    const targets = gpu.from(new Uint32Array(rows).fill(7), [rows], "bench targets");
    gpu.differentiate(() => crossEntropy(gpu, hidden, [head], targets).loss);
  });
  const peakBytes = gpu.memory.peakPooledInUse - before;
  for (const tensor of [hidden, head]) {
    gpu.drop(tensor.grad!);
    gpu.drop(tensor);
  }
  return { rows, vocabulary, logitsBytes: rows * vocabulary * 4, peakBytes };
}

// ---- the whole step ----

/** A training step of the same transformer, milliseconds; and the losses that both computed. */
export interface StepRow {
  shape: string;
  ours: number;
  jax: number | null;
  ourLoss: number;
  jaxLoss: number | null;
}

// ---- the report ----

export function formatBench(report: BenchReport): string {
  const clock = report.clock === "wall" ? "clock time" : `processor time over ${cores} cores`;
  const lines = [`${report.adapter}, ${report.driver}, ${report.runtime}; ${clock}`, ""];
  if (report.matmul) {
    const cells = report.matmul.map(({ where, form, M, N, K, ours, jax, tfjs, gigabytesPerSecond }) => [
      where,
      `${form} ${M}×${N}×${K}`,
      ours.toFixed(1),
      jax === null ? "–" : jax.toFixed(1),
      tfjs === null ? "–" : tfjs.toFixed(1),
      jax === null ? "–" : `${(ours / jax).toFixed(1)}×`,
      tfjs === null ? "–" : `${(ours / tfjs).toFixed(1)}×`,
      gigabytesPerSecond.toFixed(1),
    ]);
    const head = ["product, GFLOP/s", "form M×N×K", "ours", "jax-js", "tfjs", "/ jax", "/ tfjs", "GB/s"];
    lines.push(...table([head, ...cells], 2), "");
  }
  if (report.encode) {
    const { copyMicroseconds, gemmMicroseconds, bareMicroseconds } = report.encode;
    lines.push(
      `encoding a warm dispatch: ${copyMicroseconds.toFixed(2)} µs; a product with its launcher ${
        gemmMicroseconds.toFixed(2)
      } µs; WebGPU alone ${bareMicroseconds.toFixed(2)} µs`,
      "",
    );
  }
  if (report.memory) {
    const { rows, vocabulary, logitsBytes, peakBytes } = report.memory;
    lines.push(
      `loss and gradients of ${rows} rows × ${vocabulary}: ${mebibytes(peakBytes)} at the peak, ` +
        `${(100 * peakBytes / logitsBytes).toFixed(2)} % of the logits' ${mebibytes(logitsBytes)}`,
      "",
    );
  }
  if (report.step) {
    const { shape, ours, jax, ourLoss, jaxLoss } = report.step;
    lines.push(
      `training step, ${shape}: ours ${ours.toFixed(1)} ms` +
        (jax === null ? "" : `, jax-js (jitted) ${jax.toFixed(1)} ms, ${(jax / ours).toFixed(1)}×`),
      `  loss after the steps: ours ${ourLoss.toFixed(5)}` +
        (jaxLoss === null ? "" : `, jax-js ${jaxLoss.toFixed(5)}`),
      "",
    );
  }
  if (report.matmul || report.step) {
    const { rows, sentence } = verdictTable(report);
    lines.push(...table(rows, 2), sentence);
  }
  return lines.join("\n").trimEnd();
}

/** Rows as aligned columns; the first `left` of them to the left. */
function table(rows: readonly (readonly string[])[], left: number): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row.map((cell, i) => i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")
  );
}

/** The peers, or none, said in one sentence, where they cannot be fetched. */
async function availablePeers(): Promise<Peer[]> {
  try {
    return [await jaxPeer(), await tfjsPeer()];
  } catch (error) {
    console.error(`measuring without jax-js and tfjs: ${(error as Error).message}`);
    return [];
  }
}

/** Runs the task. Returns what to print. */
export async function benchTask(args: readonly string[], open: typeof openGpu = openGpu): Promise<string> {
  const { own, help } = parseFlags(args, usage);
  if (help) return helpText(usage);
  const gpu = await open(own.gpu);
  try {
    if (own.cpu && !gpu.facts.software) {
      throw new RangeError("--cpu counts the processor's time, but this adapter computes on a GPU");
    }
    const { adapter, driver, runtime, software } = gpu.facts;
    const wants = (part: string) => own.what === "all" || own.what === part;
    const report: BenchReport = { adapter, driver, runtime, clock: own.cpu ? "processor" : "wall" };
    const clock = own.cpu ? processor : wall;
    const peers = own.peers && (wants("matmul") || wants("step")) ? await availablePeers() : [];
    if (wants("encode")) report.encode = await benchEncode(gpu);
    if (wants("memory")) report.memory = benchMemory(gpu), await gpu.finish();
    if (wants("matmul")) {
      if (!software) console.error(formatTrials(await chooseMatmul(gpu, matmulShapes(software))));
      report.matmul = await benchMatmul(gpu, peers, clock);
    }
    if (wants("step")) report.step = await benchStep(gpu, (runs) => race(runs, clock, 0.5), peers.length > 0);
    return own.json ? JSON.stringify(report, null, 2) : formatBench(report);
  } finally {
    gpu.destroy();
  }
}

if (import.meta.main) {
  try {
    console.log(await benchTask(Deno.args));
    Deno.exit(0); // peers keep devices and workers of their own
  } catch (error) {
    failWith(error);
  }
}
