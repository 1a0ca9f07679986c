/**
 * The ways to compute a matrix product. All compute the same thing to f32 rounding (`matrix` to f16 operands); which is fast depends on the
 * adapter and the shape. See matmul.ts for how one is chosen.
 */
import anySource from "./matmul_any.wgsl" with { type: "text" };
import matrixSource from "./matmul_matrix.wgsl" with { type: "text" };
import nnSoftware from "./matmul_nn_software.wgsl" with { type: "text" };
import skinnySource from "./matmul_nt_skinny.wgsl" with { type: "text" };
import ntSoftware from "./matmul_nt_software.wgsl" with { type: "text" };
import simtSource from "./matmul_simt.wgsl" with { type: "text" };
import tnSoftware from "./matmul_tn_software.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { type Kernel, kernel } from "./kernel.ts";
import type { Form, Layout } from "./matmul.ts";
import type { Tensor } from "./tensor.ts";
import { transpose } from "./transpose.ts";
import { unroll } from "./unroll.ts";
import { windowAt, windowBytes, windowed, windowRows } from "./window.ts";

/** A product with every default filled in. */
export interface Job extends Layout {
  form: Form;
  a: Tensor;
  b: Tensor;
  out: Tensor;
  accumulate: 0 | 1;
  alpha: number;
  bias?: Tensor;
  residual?: Tensor;
}

export interface Variant {
  /** What the device lacks for it, or null. */
  lacks(gpu: Gpu): string | null;
  /** Why it cannot do this job, or null. */
  refuses(gpu: Gpu, job: Job): string | null;
  run(gpu: Gpu, job: Job): void;
}

const everywhere = () => null;

export const variants: Record<string, Variant> = {
  any: { lacks: everywhere, refuses: () => null, run: runAny },
  simt: { lacks: everywhere, refuses: refusesQuads, run: runSimt },
  skinny: { lacks: everywhere, refuses: refusesSkinny, run: runSkinny },
  matrix: {
    lacks: lacksMatrix,
    refuses: (gpu, job) => lacksMatrix(gpu) ?? refusesQuads(gpu, job),
    run: runMatrix,
  },
  software: {
    lacks: everywhere,
    refuses: refusesQuads,
    run: (gpu, job) => turned(gpu, job, false, runSoftware),
  },
  window: {
    lacks: everywhere,
    refuses: (gpu, job) => refusesWindows(gpu, job, "a"),
    run: (gpu, job) => turned(gpu, job, true, (gpu, job) => runWindows(gpu, job, "a")),
  },
  windows: {
    lacks: everywhere,
    refuses: (gpu, job) => refusesWindows(gpu, job, "ab"),
    run: (gpu, job) => turned(gpu, job, true, (gpu, job) => runWindows(gpu, job, "ab")),
  },
  panels: {
    lacks: everywhere,
    refuses: refusesPanels,
    run: (gpu, job) => turned(gpu, job, true, runPanels),
  },
};

// ---- any ----

const anyKernel = kernel("matmul_any", anySource);

function runAny(gpu: Gpu, job: Job): void {
  const { form, a, b, out, M, N, K, aOffset, aStride, bOffset, bStride, outOffset, outStride, alpha } = job;
  const y = Math.ceil(M / 8);
  const height = Math.min(y, 32768);
  const nothing = gpu.constant(0);
  gpu.run(
    anyKernel,
    { a, b, bias: job.bias ?? nothing, residual: job.residual ?? nothing, out },
    {
      M,
      N,
      K,
      aOffset,
      aRow: form === "TN" ? 1 : aStride,
      aColumn: form === "TN" ? aStride : 1,
      bOffset,
      bRow: form === "NT" ? 1 : bStride,
      bColumn: form === "NT" ? bStride : 1,
      outOffset,
      outRow: outStride,
      alpha,
      accumulate: job.accumulate,
      hasBias: job.bias ? 1 : 0,
      hasResidual: job.residual ? 1 : 0,
    },
    [Math.ceil(N / 64), height, Math.ceil(y / height)],
  );
}

// ---- software: vec4 loads, no workgroup memory, rows shared by the lanes ----

const softwareSources: Record<Form, string> = { NN: nnSoftware, NT: ntSoftware, TN: tnSoftware };
/** Which operands are read through windows. */
type Windows = "a" | "ab";
const softwareKernels = new Map<string, Kernel>();

function softwareKernel(form: Form, rows: number, windows: "" | Windows): Kernel {
  const key = `${form} ${rows} ${windows}`;
  let found = softwareKernels.get(key);
  if (!found) {
    let source = unroll(softwareSources[form], { rows, blocks: rows / 4 }).replaceAll("rows;", `${rows}u;`);
    for (const name of windows) source = windowed(source, name);
    found = kernel(`matmul_${form.toLowerCase()}_software`, source);
    softwareKernels.set(key, found);
  }
  return found;
}

function refusesQuads(_gpu: Gpu, { form, M, N, K, aOffset, aStride, bOffset, bStride }: Job): string | null {
  const extents = form === "NT" ? [K] : form === "NN" ? [K, N] : [M, N];
  return [...extents, aOffset, aStride, bOffset, bStride].some((extent) => extent % 4 !== 0)
    ? "rows and offsets must be multiples of 4 elements"
    : null;
}

/** Rows that one invocation computes: enough to pay for a column's loads, no more than there are. */
function softwareRows(M: number): number {
  return M <= 4 ? 4 : M <= 8 ? 8 : 16;
}

/**
 * On a CPU's lanes, columns side by side are faster than dot products: with rows enough to pay for it, `NT` transposes b and goes on as `NN`.
 * Calls `run` with the job as it then stands.
 */
function turned(gpu: Gpu, job: Job, windows: boolean, run: (gpu: Gpu, job: Job) => void): void {
  const { form, M, N, K, b } = job;
  if (form !== "NT" || M < 64 || N % 4 !== 0) return run(gpu, job);
  const across = scratch(gpu, K * N);
  transpose(gpu, b, across, { rows: N, columns: K, offset: job.bOffset, stride: job.bStride }, windows);
  run(gpu, { ...job, form: "NN", b: across, bOffset: 0, bStride: N });
  gpu.release(across);
}

/** Room for a copy of an operand, with a window in it at least. */
function scratch(gpu: Gpu, elements: number): Tensor {
  return gpu.hold([Math.max(elements, windowBytes / 4)], "matmul.copy");
}

function runSoftware(gpu: Gpu, job: Job): void {
  const rows = softwareRows(job.M);
  dispatchSoftware(gpu, softwareKernel(job.form, rows, ""), rows, job, job);
}

/** What one dispatch covers of a job. */
interface Part extends Omit<Layout, "aStride" | "bStride" | "outStride"> {
  accumulate: 0 | 1;
  biasOffset?: number;
  /** Whether bias and residual are added: in the first part only, where several sum into the same numbers. */
  first?: boolean;
}

function dispatch(
  gpu: Gpu,
  by: Kernel,
  job: Job,
  part: Part,
  groups: readonly [number, number?, number?],
  overrides?: Record<string, number>,
  windows?: Record<string, number>,
): void {
  const { a, b, out, bias, residual, alpha, aStride, bStride, outStride } = job;
  const { M, N, K, aOffset, bOffset, outOffset, accumulate, biasOffset = 0, first = true } = part;
  const nothing = gpu.constant(0);
  gpu.run(
    by,
    { a, b, bias: bias ?? nothing, residual: residual ?? nothing, out },
    {
      M,
      N,
      K,
      aOffset,
      aStride,
      bOffset,
      bStride,
      outOffset,
      outStride,
      alpha,
      accumulate,
      hasBias: bias && first ? 1 : 0,
      hasResidual: residual && first ? 1 : 0,
      biasOffset,
    },
    groups,
    overrides,
    windows,
  );
}

function dispatchSoftware(
  gpu: Gpu,
  by: Kernel,
  rows: number,
  job: Job,
  part: Part,
  windows?: Record<string, number>,
): void {
  const groups = [Math.ceil(part.N / (job.form === "NT" ? 8 : 32)), Math.ceil(part.M / rows)] as const;
  dispatch(gpu, by, job, part, groups, undefined, windows);
}

// ---- windows: the same, with a (and b) read as uniform buffers of 64 KiB ----

/**
 * Of every extent, how much one dispatch covers, for the most rows an invocation that fit; zeros where nothing fits. Only what lies in
 * windows is cut up.
 */
function extents(job: Job, windows: Windows): { rows: number; m: number; n: number; k: number } {
  const { form, M, N, K, aOffset, aStride, bOffset, bStride } = job;
  const ofB = (columns: number, step: number) => windowRows(bOffset, bStride, columns, step);
  for (let rows = softwareRows(M);; rows /= 2) {
    const m = form === "TN" ? M : windowRows(aOffset, aStride, K, rows);
    const n = form === "NT" && windows === "ab" ? ofB(K, 8) : N;
    const k = Math.min(
      form === "TN" ? windowRows(aOffset, aStride, M, 4) : K,
      form !== "NT" && windows === "ab" ? ofB(N, 4) : K,
    );
    if ((m > 0 && n > 0 && k > 0) || rows === 4) return { rows, m, n, k };
  }
}

function refusesWindows(gpu: Gpu, job: Job, windows: Windows): string | null {
  const turns = job.form === "NT" && job.M >= 64 && job.N % 4 === 0;
  const { m, n, k } = extents(turns ? { ...job, form: "NN", bOffset: 0, bStride: job.N } : job, windows);
  if (job.a.allocation.buffer.size < windowBytes || job.b.allocation.buffer.size < windowBytes) {
    return "its operands lie in buffers smaller than a window";
  }
  // Each piece of a sum reads and writes the result once more: below 32 products a piece that is all it does.
  return refusesQuads(gpu, job) ??
    (m === 0 || n === 0 || k < Math.min(job.K, 32) ? "its rows are too long for windows of 64 KiB" : null);
}

function runWindows(gpu: Gpu, job: Job, windows: Windows): void {
  const { form, a, b, M, N, K, aOffset, aStride, bOffset, bStride, outOffset, outStride } = job;
  const { rows, ...step } = extents(job, windows);
  const by = softwareKernel(form, rows, windows);
  for (let m = 0; m < M; m += step.m) {
    for (let n = 0; n < N; n += step.n) {
      for (let k = 0; k < K; k += step.k) {
        const inA = form === "TN" ? windowAt(a, aOffset + k * aStride) : windowAt(a, aOffset + m * aStride);
        const atB = bOffset + (form === "NT" ? n * bStride : k * bStride);
        const inB = windows === "ab" ? windowAt(b, atB) : { start: 0, offset: atB };
        dispatchSoftware(gpu, by, rows, job, {
          M: Math.min(step.m, M - m),
          N: Math.min(step.n, N - n),
          K: Math.min(step.k, K - k),
          aOffset: inA.offset + (form === "NN" ? k : 0),
          bOffset: inB.offset,
          outOffset: outOffset + m * outStride + n,
          accumulate: k > 0 ? 1 : job.accumulate,
          biasOffset: n,
          first: k === 0,
        }, windows === "ab" ? { a: inA.start, b: inB.start } : { a: inA.start });
      }
    }
  }
}

// ---- panels: where rows are too long for windows, a copy of a that suits them ----

/** Rows of a that are copied at a time: 256 products a window. */
const panelRows = 64;

function refusesPanels(gpu: Gpu, job: Job): string | null {
  if (job.b.allocation.buffer.size < windowBytes) return "b lies in a buffer smaller than a window";
  if (job.M < panelRows || job.K % 4 !== 0 || job.N % 4 !== 0) {
    return "it is for 64 rows and more, of multiples of 4 elements";
  }
  if (job.form === "TN" && windowRows(0, job.K, job.K, 4) === 0) {
    return "its columns are too long for windows of 64 KiB";
  }
  return refusesQuads(gpu, job);
}

/** `NN` goes on as `TN`, of panels of rows turned over; `TN` as `NN`, of the whole of a turned over. */
function runPanels(gpu: Gpu, job: Job): void {
  const { form, a, M, K, aOffset, aStride, outOffset, outStride } = job;
  if (form === "TN") {
    const across = scratch(gpu, M * K);
    transpose(gpu, a, across, { rows: K, columns: M, offset: aOffset, stride: aStride }, true);
    runWindows(gpu, { ...job, form: "NN", a: across, aOffset: 0, aStride: K }, "a");
    gpu.release(across);
    return;
  }
  for (let m = 0; m < M; m += panelRows) {
    const count = Math.min(panelRows, M - m), columns = Math.ceil(count / 4) * 4;
    const panel = scratch(gpu, K * columns);
    const from = {
      rows: count,
      columns: K,
      offset: aOffset + m * aStride,
      stride: aStride,
      yStride: columns,
    };
    transpose(gpu, a, panel, from, true);
    const rows = { M: count, aOffset: 0, aStride: columns, outOffset: outOffset + m * outStride };
    runWindows(gpu, { ...job, ...rows, form: "TN", a: panel }, "a");
    gpu.release(panel);
  }
}

// ---- simt: tiles in workgroup memory, for GPUs ----

const simtKernels = [1, 2].map((quads) =>
  kernel("matmul_simt", `const quads = ${quads}u;\n${unroll(simtSource, { quads })}`)
);

/** How an operand's rows lie: down or along the summed dimension. */
function lie(form: Form): { aDown: number; bAcross: number } {
  return { aDown: form === "TN" ? 1 : 0, bAcross: form === "NT" ? 0 : 1 };
}

/** Tiles by rows and columns, rows folded into z where WebGPU's 65,535 are too few. */
function tiles(M: number, N: number, height: number, width: number): [number, number, number] {
  const rows = Math.ceil(M / height), y = Math.min(rows, 32768);
  return [Math.ceil(N / width), y, Math.ceil(rows / y)];
}

/** Tiles of 128 × 64 where there are enough of them to fill a GPU, else of 64 × 64. */
function runSimt(gpu: Gpu, job: Job): void {
  const quads = job.M >= 128 && Math.ceil(job.M / 128) * Math.ceil(job.N / 64) >= 128 ? 2 : 1;
  dispatch(gpu, simtKernels[quads - 1], job, job, tiles(job.M, job.N, 64 * quads, 64), lie(job.form));
}

// ---- skinny: few rows, as in decoding ----

const skinnyKernels = new Map(
  [1, 2, 4, 8].map((rows) =>
    [rows, kernel("matmul_nt_skinny", `const rows = ${rows}u;\n${unroll(skinnySource, { rows })}`)] as const
  ),
);

function refusesSkinny(gpu: Gpu, job: Job): string | null {
  if (job.form !== "NT" || job.M > 64) return "it is for NT with at most 64 rows";
  return refusesQuads(gpu, job);
}

function runSkinny(gpu: Gpu, job: Job): void {
  const rows = Math.min(8, 2 ** Math.ceil(Math.log2(job.M)));
  const columns = Math.ceil(job.N / 8), x = Math.min(columns, 32768);
  const groups = [x, Math.ceil(job.M / rows), Math.ceil(columns / x)] as const;
  dispatch(gpu, skinnyKernels.get(rows)!, job, job, groups);
}

// ---- matrix: f16 operands on matrix units, f32 sums ----

const matrixKernels = new Map<string, Kernel>();

/** The edge of the matrix units' cubes that the kernel can use: 16 (NVIDIA) or 8 (Mesa's software Vulkan, Apple). */
function matrixUnit(gpu: Gpu): number | null {
  const cubes = gpu.facts.matrixUnits.filter(({ component, result, m, n, k }) =>
    component === "f16" && result === "f32" && m === n && n === k
  );
  return [16, 8].find((unit) => cubes.some(({ m }) => m === unit)) ?? null;
}

/** Matrix kernels need workgroups of whole subgroups, of the adapter's largest size. */
function subgroupLanes(gpu: Gpu): number {
  return (gpu.device.adapterInfo as GPUAdapterInfo & { subgroupMaxSize?: number }).subgroupMaxSize ?? 32;
}

function lacksMatrix(gpu: Gpu): string | null {
  return matrixUnit(gpu) === null
    ? `${gpu.facts.adapter} shows no matrix units for f16 with f32 sums in cubes of 8 or 16 (Dawn does, where the driver has them)`
    : null;
}

function runMatrix(gpu: Gpu, job: Job): void {
  const unit = matrixUnit(gpu)!, lanes = subgroupLanes(gpu), { aDown, bAcross } = lie(job.form);
  // A CPU's "units" are loops: few of them in a kernel, or its compiler takes half a minute. Tiles of 128 need 24 KiB.
  const side = gpu.facts.software ? 1 : gpu.device.limits.maxComputeWorkgroupStorageSize < 24576 ? 2 : 4;
  const tile = 2 * side * unit;
  const key = `${unit} ${side} ${lanes} ${job.form}`;
  let by = matrixKernels.get(key);
  if (!by) {
    const constants =
      `const unit = ${unit}u;\nconst side = ${side}u;\nconst lanes = ${lanes}u;\nconst aDown = ${
        aDown === 1
      };\n` +
      `const bAcross = ${bAcross === 1};\n\nstruct Params`;
    const source = unroll(matrixSource, { side }).replace("struct Params", constants)
      .replaceAll("layoutA>", aDown ? "col_major>" : "row_major>")
      .replaceAll("layoutB>", bAcross ? "row_major>" : "col_major>");
    by = kernel("matmul_matrix", source);
    matrixKernels.set(key, by);
  }
  dispatch(gpu, by, job, job, tiles(job.M, job.N, tile, tile));
}
