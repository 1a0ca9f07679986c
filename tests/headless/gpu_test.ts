import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { formatGpuReport, type GpuReport, gpuTask } from "../../headless/gpu.ts";
import { testRuntime } from "../kernels/testing.ts";

const open: typeof openGpu = (_, options) => openGpu(testRuntime, options);

function slow(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

slow("the report names adapter, features and limits, and measures peaks that are possible", async () => {
  const report = JSON.parse(await gpuTask(["--json"], open)) as GpuReport;
  assert(report.adapter.length > 0);
  assert(report.limits.maxStorageBufferBindingSize >= 128 << 20);
  const { matmul, copyGigabytesPerSecond, encodeMicroseconds, waitMilliseconds } = report.peaks!;
  for (const { gflops } of matmul) assert(gflops > 0.01 && gflops < 1e7);
  assert(copyGigabytesPerSecond > 0.01 && copyGigabytesPerSecond < 1e5);
  assert(encodeMicroseconds > 0 && waitMilliseconds > 0);

  const lines = formatGpuReport(report).split("\n");
  const values = lines.slice(1, 6).map((line) => /^ {2}\S+(?: \S+)* {2,}/.exec(line)![0].length);
  assertEquals(new Set(values).size, 1, "values of a section start in one column");
});

slow("--quick measures nothing; an unknown flag and an unknown runtime are named", async () => {
  assertMatch(await gpuTask(["--quick"], open), /^Adapter\n {2}name/);
  await assertRejects(() => gpuTask(["--quik"], open), RangeError, "the nearest is --quick");
  await assertRejects(() => gpuTask(["--gpu", "metal"], open), RangeError, "auto, dawn or native");
  assertMatch(await gpuTask(["--help"], () => Promise.reject(new Error("asked"))), /deno task gpu/);
});
