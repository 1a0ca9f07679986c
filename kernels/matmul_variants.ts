/**
 * The ways to compute a matrix product. All compute the same thing to f32 rounding (`matrix` to f16 operands); which is fast depends on the
 * adapter and the shape. See matmul.ts for how one is chosen.
 */
import anySource from "./matmul_any.wgsl" with { type: "text" };
import matrixSource from "./matmul_matrix.wgsl" with { type: "text" };
import nnSoftware from "./matmul_nn_software.wgsl" with { type: "text" };
import skinnySource from "./matmul_nt_skinny.wgsl" with { type: "text" };
import ntSoftware from "./matmul_nt_software.wgsl" with { type: "text" };
import panelsSource from "./matmul_panels.wgsl" with { type: "text" };
import simtSource from "./matmul_simt.wgsl" with { type: "text" };
import tnSoftware from "./matmul_tn_software.wgsl" with { type: "text" };
import type { Gpu, Part as Dispatch } from "./gpu.ts";
import { type Kernel, kernel } from "./kernel.ts";
import type { Form, Layout } from "./matmul.ts";
import type { Tensor } from "./tensor.ts";
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
  /** Elements from one column of `out` to the next, if not 1: `TN` on CPUs only. */
  outColumn?: number;
}

export interface Variant {
  /** What the device lacks for it, or null. */
  lacks(gpu: Gpu): string | null;
  /** Why it cannot do this job, or null. */
  refuses(gpu: Gpu, job: Job): string | null;
  /** Whether it can do this job, but the next of an adapter's usual variants does it better. */
  outdone?(job: Job): boolean;
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
    run: runSoftware,
  },
  window: {
    lacks: everywhere,
    refuses: (gpu, job) => refusesWindows(gpu, flipped(job), "a"),
    run: (gpu, job) => runWindows(gpu, flipped(job), "a"),
  },
  windows: {
    lacks: everywhere,
    refuses: (gpu, job) => refusesWindows(gpu, job, "ab"),
    // A window of b that holds only a part of a sum costs a result that is written and read twice.
    outdone: (job) => job.form === "NN" && extents(job, "ab").k < job.K,
    run: (gpu, job) => runWindows(gpu, job, "ab"),
  },
  panels: {
    lacks: everywhere,
    refuses: (gpu, job) => refusesPanels(gpu, flipped(job)),
    run: (gpu, job) => runPanels(gpu, flipped(job)),
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

function runSoftware(gpu: Gpu, job: Job): void {
  const rows = softwareRows(job.M);
  const { params, groups } = softwareDispatch(rows, job, job);
  gpu.run(softwareKernel(job.form, rows, ""), tensorsOf(gpu, job), params, groups);
}

/**
 * `TN` the other way about, (bᵀ·a)ᵀ, if that makes the smaller operand the one that is cut into windows or copied: then its rows are shorter,
 * and the sums in fewer pieces.
 */
function flipped(job: Job): Job {
  const { form, a, b, M, N, aOffset, aStride, bOffset, bStride, outStride } = job;
  if (form !== "TN" || M <= N || job.bias) return job;
  const operands = {
    a: b,
    b: a,
    M: N,
    N: M,
    aOffset: bOffset,
    aStride: bStride,
    bOffset: aOffset,
    bStride: aStride,
  };
  return { ...job, ...operands, outStride: 1, outColumn: outStride };
}

/** What one dispatch covers of a job. */
interface Part extends Omit<Layout, "aStride" | "bStride" | "outStride"> {
  accumulate: 0 | 1;
  biasOffset?: number;
  /** Whether neighbouring workgroups share columns (of b) rather than rows. */
  rowsFirst?: 0 | 1;
  /** Whether bias and residual are added: in the first part only, where several sum into the same numbers. */
  first?: boolean;
}

function dispatch(
  gpu: Gpu,
  by: Kernel,
  job: Job,
  part: Part,
  groups: Dispatch["groups"],
  overrides?: Record<string, number>,
): void {
  gpu.run(by, tensorsOf(gpu, job), paramsOf(job, part), groups, overrides);
}

function tensorsOf(gpu: Gpu, { a, b, out, bias, residual }: Job): Record<string, Tensor> {
  const nothing = gpu.constant(0);
  return { a, b, bias: bias ?? nothing, residual: residual ?? nothing, out };
}

function paramsOf(job: Job, part: Part): Record<string, number> {
  const { bias, residual, alpha, aStride, bStride, outStride } = job;
  const { M, N, K, aOffset, bOffset, outOffset, accumulate, biasOffset = 0, first = true } = part;
  return {
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
    rowsFirst: part.rowsFirst ?? 0,
    outColumn: job.outColumn ?? 1,
  };
}

function softwareDispatch(
  rows: number,
  job: Job,
  part: Part,
  windows?: Record<string, number>,
): Dispatch {
  const columns = Math.ceil(part.N / 32), lines = Math.ceil(part.M / rows);
  // The smaller operand is swept again and again, so that it stays in a cache; but where sums are short, stores count, and run along rows.
  const rowsFirst = part.M < part.N && part.K >= 128 ? 1 : 0;
  const groups = rowsFirst ? [lines, columns] as const : [columns, lines] as const;
  return { params: paramsOf(job, { ...part, rowsFirst }), groups, windows };
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
    const n = form === "NT" && windows === "ab" ? ofB(K, 32) : N;
    const k = Math.min(
      form === "TN" ? windowRows(aOffset, aStride, M, 4) : K,
      form !== "NT" && windows === "ab" ? ofB(N, 4) : K,
    );
    if ((m > 0 && n > 0 && k > 0) || rows === 4) return { rows, m, n, k };
  }
}

/** Each piece of a sum reads and writes the result once more; below this that costs more than the next variant's way around it. */
const shortestPiece = 64;

function refusesWindows(gpu: Gpu, job: Job, windows: Windows): string | null {
  const { m, n, k } = extents(job, windows);
  if (job.a.allocation.buffer.size < windowBytes || job.b.allocation.buffer.size < windowBytes) {
    return "its operands lie in buffers smaller than a window";
  }
  return refusesQuads(gpu, job) ??
    (m === 0 || n === 0 || k < Math.min(job.K, shortestPiece)
      ? "its rows are too long for windows of 64 KiB"
      : null);
}

function runWindows(gpu: Gpu, job: Job, windows: Windows): void {
  const { form, M, N, K } = job;
  const { rows, m, n, k } = extents(job, windows);
  const count = Math.ceil(M / m) * Math.ceil(N / n) * Math.ceil(K / k);
  const by = softwareKernel(form, rows, windows);
  gpu.runParts(by, tensorsOf(gpu, job), count, () => windowParts(job, windows, { rows, m, n, k }));
}

function* windowParts(
  job: Job,
  windows: Windows,
  { rows, ...step }: ReturnType<typeof extents>,
): Generator<Dispatch> {
  const { form, a, b, M, N, K, aOffset, aStride, bOffset, bStride, outOffset, outStride } = job;
  for (let m = 0; m < M; m += step.m) {
    for (let n = 0; n < N; n += step.n) {
      for (let k = 0; k < K; k += step.k) {
        const inA = form === "TN" ? windowAt(a, aOffset + k * aStride) : windowAt(a, aOffset + m * aStride);
        const atB = bOffset + (form === "NT" ? n * bStride : k * bStride);
        const inB = windows === "ab" ? windowAt(b, atB) : { start: 0, offset: atB };
        yield softwareDispatch(rows, job, {
          M: Math.min(step.m, M - m),
          N: Math.min(step.n, N - n),
          K: Math.min(step.k, K - k),
          aOffset: inA.offset + (form === "NN" ? k : 0),
          bOffset: inB.offset,
          outOffset: outOffset + m * outStride + n * (job.outColumn ?? 1),
          accumulate: k > 0 ? 1 : job.accumulate,
          biasOffset: n,
          first: k === 0,
        }, windows === "ab" ? { a: inA.start, b: inB.start } : { a: inA.start });
      }
    }
  }
}

// ---- panels: where rows are too long for windows, a copy of a that suits them ----

const panelsKernel = kernel("matmul_panels", windowed(panelsSource, "x"));

/** Columns of a in a panel: a window holds so many elements as 64 of them times 256. */
const panelWidths: Record<Form, number> = { NN: 256, NT: 256, TN: 64 };

function refusesPanels(gpu: Gpu, job: Job): string | null {
  const { form, a, b, M, K, aOffset, aStride } = job;
  if (a.allocation.buffer.size < windowBytes || b.allocation.buffer.size < windowBytes) {
    return "its operands lie in buffers smaller than a window";
  }
  if (M < 64) return "it is for 64 rows and more: fewer do not pay for the copy";
  const columns = form === "TN" ? M : K;
  if (columns % 4 !== 0 || windowRows(aOffset, aStride, columns, 1) === 0) {
    return "rows of a must fit into a window of 64 KiB, and be multiples of 4 elements";
  }
  return refusesQuads(gpu, job);
}

/** Cuts the columns of a into panels; then every panel is a product of its own, or, where they run along K, a part of the sum. */
function runPanels(gpu: Gpu, job: Job): void {
  const { form, a, M, K, aOffset, aStride, bOffset, bStride, outOffset, outStride } = job;
  const width = panelWidths[form], [rows, columns] = form === "TN" ? [K, M] : [M, K];
  const panel = rows * width, count = Math.ceil(columns / width);
  const copy = gpu.hold([Math.max(count * panel, windowBytes / 4)], "matmul.panels");
  const step = windowRows(aOffset, aStride, columns, 1);
  const parts = function* (): Generator<Dispatch> {
    for (let firstRow = 0; firstRow < rows; firstRow += step) {
      const at = windowAt(a, aOffset + firstRow * aStride), some = Math.min(step, rows - firstRow);
      yield {
        params: { rows: some, columns, offset: at.offset, stride: aStride, firstRow, width, panel },
        groups: [Math.ceil(columns / 32), some],
        windows: { x: at.start },
      };
    }
  };
  gpu.runParts(panelsKernel, { x: a, y: copy }, Math.ceil(rows / step), parts);
  for (let p = 0; p < count; p++) {
    const first = p * width, some = Math.min(width, columns - first);
    const part = { ...job, a: copy, aOffset: p * panel, aStride: width };
    if (form === "TN") {
      runWindows(gpu, { ...part, M: some, outOffset: outOffset + first * outStride }, "a");
    } else {
      const atB = bOffset + (form === "NT" ? first : first * bStride);
      const later = p > 0 ? { accumulate: 1 as const, bias: undefined, residual: undefined } : {};
      runWindows(gpu, { ...part, K: some, bOffset: atB, ...later }, "a");
    }
  }
  gpu.release(copy);
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
