/** `deno task gpu`: which GPU there is, what it allows, which kernels run on it and how fast it is at what they do. */
import type { Gpu } from "../kernels/gpu.ts";
import { gemm } from "../kernels/matmul.ts";
import { mebibytes } from "../kernels/memory.ts";
import { copyGigabytesPerSecond, secondsOf } from "../kernels/peak.ts";
import { boolean, choice } from "../lab/config_fields.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "gpu",
  about: "shows the adapter, its features and limits, the kernel variants taken, and measured peaks.",
  own: {
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "Whose WebGPU: Dawn's or Deno's own" }),
    json: boolean(false, { doc: "Print JSON" }),
    quick: boolean(false, { doc: "Measure nothing" }),
  },
  examples: [["deno task gpu", "the default device"], [
    "deno task gpu --gpu dawn --json",
    "through Dawn, for a script",
  ]],
} as const;

/** What was found out about a device. */
export interface GpuReport {
  runtime: string;
  adapter: string;
  vendor: string;
  driver: string;
  software: boolean;
  features: {
    f16: boolean;
    subgroups: boolean;
    timestamps: boolean;
    matrixUnits: Gpu["facts"]["matrixUnits"];
  };
  limits: Record<string, number>;
  /** Kernel variants, by what they serve, and why. */
  variants: Record<string, string>;
  peaks?: Peaks;
}

export interface Peaks {
  /** [M = N = K]: GFLOP/s of the f32 product. */
  matmul: { size: number; gflops: number }[];
  /** Bytes read and written by a copy, GB/s. */
  copyGigabytesPerSecond: number;
  /** Host time to encode one warm dispatch. */
  encodeMicroseconds: number;
  /** From submitting one small dispatch to having read its result. */
  waitMilliseconds: number;
}

const shownLimits = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Looks at a device and, unless told not to, measures it for about two seconds. */
export async function describeGpu(gpu: Gpu, measured = true): Promise<GpuReport> {
  const { runtime, adapter, vendor, driver, software, f16, subgroups, timestamps, matrixUnits } = gpu.facts;
  const peaks = measured ? await measurePeaks(gpu) : undefined; // first: it settles which variants are taken
  return {
    runtime,
    adapter,
    vendor,
    driver,
    software,
    features: { f16, subgroups, timestamps, matrixUnits },
    limits: Object.fromEntries(shownLimits.map((name) => [name, gpu.device.limits[name]])),
    variants: {
      "every kernel": software
        ? "the forms for software adapters, as shaders run on CPU cores here"
        : "the forms for GPUs",
      ...Object.fromEntries(gpu.choices),
    },
    peaks,
  };
}

async function measurePeaks(gpu: Gpu): Promise<Peaks> {
  const sizes = gpu.facts.software ? [256, 512, 1024] : [512, 1024, 2048, 4096];
  const matmul: Peaks["matmul"] = [];
  for (const size of sizes) {
    const [a, b, out] = ["a", "b", "out"].map((name) => gpu.hold([size, size], name));
    const product = { M: size, N: size, K: size };
    const seconds = await secondsOf(gpu, () => gemm(gpu, "NN", a, b, out, product));
    matmul.push({ size, gflops: 2 * size ** 3 / seconds / 1e9 });
    for (const tensor of [a, b, out]) gpu.release(tensor);
  }

  const copyRate = await copyGigabytesPerSecond(gpu);

  const [x, y] = ["x", "y"].map((name) => gpu.hold([64], name));
  const dispatches = 1000;
  let encode = Infinity, wait = Infinity;
  for (let trial = 0; trial < 5; trial++) {
    const start = performance.now();
    for (let i = 0; i < dispatches; i++) gpu.copy(y, x);
    encode = Math.min(encode, (performance.now() - start) / dispatches);
    await gpu.finish();
  }
  for (let trial = 0; trial < 20; trial++) {
    const start = performance.now();
    gpu.copy(y, x);
    await gpu.read(y);
    wait = Math.min(wait, performance.now() - start);
  }
  for (const tensor of [x, y]) gpu.release(tensor);
  gpu.trim();
  return {
    matmul,
    copyGigabytesPerSecond: copyRate,
    encodeMicroseconds: encode * 1000,
    waitMilliseconds: wait,
  };
}

/** The report as aligned lines. */
export function formatGpuReport(report: GpuReport): string {
  const lines: string[] = [];
  const section = (title: string, rows: [string, string][]) => {
    const width = Math.max(...rows.map(([name]) => name.length));
    lines.push(title, ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`), "");
  };
  const { features, limits, peaks } = report;
  section("Adapter", [
    ["name", report.adapter],
    ["vendor", report.vendor || "not told"],
    ["driver", report.driver || "not told"],
    ["runtime", report.runtime === "dawn" ? "Dawn (npm webgpu)" : "Deno's own WebGPU (wgpu)"],
    ["shaders run on", report.software ? "CPU cores (software adapter)" : "a GPU"],
  ]);
  const has = (feature: boolean) => feature ? "yes" : "no";
  const units = features.matrixUnits.map(({ component, result, m, n, k }) =>
    `${m}×${n}×${k} ${component} → ${result}`
  );
  section("Features", [
    ["f16", has(features.f16)],
    ["subgroups", has(features.subgroups)],
    ["timestamps", has(features.timestamps)],
    ["matrix units", units.join(", ") || "none"],
  ]);
  section(
    "Limits",
    Object.entries(limits).map(([name, value]) => [
      name,
      /Size$/.test(name) && !/Workgroup/.test(name) || /StorageSize$/.test(name)
        ? mebibytes(value)
        : String(value),
    ]),
  );
  section("Kernel variants", Object.entries(report.variants));
  if (peaks) {
    section("Measured", [
      ...peaks.matmul.map(({ size, gflops }): [string, string] => [
        `matmul f32 ${size}`,
        `${gflops.toFixed(1).padStart(9)} GFLOP/s`,
      ]),
      ["copy", `${peaks.copyGigabytesPerSecond.toFixed(1).padStart(9)} GB/s`],
      ["encoding", `${peaks.encodeMicroseconds.toFixed(2).padStart(9)} µs a dispatch`],
      ["wait for a result", `${peaks.waitMilliseconds.toFixed(2).padStart(9)} ms`],
    ]);
  }
  return lines.join("\n").trimEnd();
}

/** Runs the task. Returns what to print. */
export async function gpuTask(args: readonly string[], open: typeof openGpu = openGpu): Promise<string> {
  const { own, help } = parseFlags(args, usage);
  if (help) return helpText(usage);
  const gpu = await open(own.gpu);
  try {
    const report = await describeGpu(gpu, !own.quick);
    return own.json ? JSON.stringify(report, null, 2) : formatGpuReport(report);
  } finally {
    gpu.destroy();
  }
}

if (import.meta.main) {
  try {
    console.log(await gpuTask(Deno.args));
  } catch (error) {
    failWith(error);
  }
}
