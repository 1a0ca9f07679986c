/**
 * The quirks of WebGPU's implementations, all of them, and none anywhere else: which features there are and how they are found,
 * how they are switched on, what WGSL each front end accepts, when uploads must be flushed. Everything above this file sees one
 * well-behaved device.
 */

/** What we know of an adapter and of the implementation in front of it. */
export interface DeviceFacts {
  /** `dawn`: npm `webgpu` or Chromium; `native`: Deno's own (wgpu, naga); `browser`: any other `navigator.gpu`. */
  runtime: "dawn" | "native" | "browser";
  adapter: string;
  vendor: string;
  driver: string;
  /** Shaders run on CPU cores: other kernels are fast there. */
  software: boolean;
  f16: boolean;
  subgroups: boolean;
  /** Shapes of the matrix units (`chromium-experimental-subgroup-matrix`); empty where there are none. */
  matrixUnits: { component: string; result: string; m: number; n: number; k: number }[];
  timestamps: boolean;
}

export interface OpenDevice {
  device: GPUDevice;
  facts: DeviceFacts;
  /** The instance behind the device: npm `webgpu` frees it, and crashes, if it is collected while the device lives. */
  instance: GPU;
}

export interface DeviceRequest {
  runtime: DeviceFacts["runtime"];
  /** `adapter` asks for all that the adapter has, `default` for WebGPU's guaranteed minimum. */
  limits?: "adapter" | "default";
  /** `none` asks for no optional feature at all. */
  features?: "all" | "none";
}

/**
 * Dawn's toggles, given when its instance is made. `shader-f16` is hidden on NVIDIA's Vulkan driver, and the matrix units are
 * experimental: each needs its toggle. Unknown names are ignored silently, so what counts is the feature list afterwards.
 */
export const dawnToggles = {
  always: ["enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia"],
  fast: [
    "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,disable_robustness,disable_workgroup_init,skip_validation",
  ],
  profiling: ["disable-dawn-features=timestamp_quantization"],
};

const matrixFeature = "chromium-experimental-subgroup-matrix";

/** Adapters that compute on the CPU, by the names they give themselves. */
const softwareNames = /llvmpipe|lavapipe|swiftshader|software|basic render/i;

/**
 * Opens a device on whatever `gpu` (a `navigator.gpu`, or Dawn's) offers.
 * @throws if there is no adapter, with what to do about it.
 */
export async function openDevice(gpu: GPU, request: DeviceRequest): Promise<OpenDevice> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new Error(
      `no WebGPU adapter (${request.runtime}): install a GPU driver with Vulkan, or software Vulkan with "sh setup.sh gpu"`,
    );
  }
  const limits = request.limits === "default" ? {} : askableLimits(adapter.limits);
  const wanted = request.features === "none" ? [] : wantedFeatures(adapter, request.runtime);
  const { device, granted } = await requestWithWhatIsGranted(adapter, wanted, limits);
  return { device, facts: describe(adapter, granted, request.runtime), instance: gpu };
}

const askedLimits = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

function askableLimits(limits: GPUSupportedLimits): Record<string, number> {
  return Object.fromEntries(askedLimits.map((name) => [name, limits[name]]));
}

/** Deno grants `subgroups` without listing it, so it is asked for there in any case. */
function wantedFeatures(adapter: GPUAdapter, runtime: DeviceFacts["runtime"]): string[] {
  const useful = ["shader-f16", "subgroups", "timestamp-query", matrixFeature];
  return useful.filter((name) =>
    adapter.features.has(name) || (runtime === "native" && name === "subgroups")
  );
}

async function requestWithWhatIsGranted(
  adapter: GPUAdapter,
  wanted: string[],
  limits: Record<string, number>,
) {
  try {
    const device = await adapter.requestDevice({
      requiredFeatures: wanted as GPUFeatureName[],
      requiredLimits: limits,
    });
    return { device, granted: wanted };
  } catch (error) {
    if (!wanted.includes("subgroups")) throw error;
    const fewer = wanted.filter((name) => name !== "subgroups" && name !== matrixFeature);
    const device = await adapter.requestDevice({
      requiredFeatures: fewer as GPUFeatureName[],
      requiredLimits: limits,
    });
    return { device, granted: fewer };
  }
}

interface MatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

function describe(adapter: GPUAdapter, granted: string[], runtime: DeviceFacts["runtime"]): DeviceFacts {
  const info = adapter.info as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  const configs = granted.includes(matrixFeature) ? [...info.subgroupMatrixConfigs ?? []] : [];
  // wgpu gives a number as the device and the name as the description; Dawn a slug, and name with driver version.
  const words = [info.description, info.device, info.architecture].filter((text) =>
    text && !/^(0x)?[0-9a-f]*$/.test(text)
  );
  return {
    runtime,
    adapter: words[0] ?? "unknown adapter",
    vendor: info.vendor ?? "",
    driver: info.description ?? "",
    software: softwareNames.test(`${info.device} ${info.description} ${info.architecture}`),
    f16: granted.includes("shader-f16"),
    subgroups: granted.includes("subgroups"),
    matrixUnits: configs.map((config) => ({
      component: config.componentType,
      result: config.resultComponentType,
      m: config.M,
      n: config.N,
      k: config.K,
    })),
    timestamps: granted.includes("timestamp-query"),
  };
}

/** The WGSL that this runtime's front end takes: naga knows subgroup builtins but rejects the directive that enables them. */
export function dialect(source: string, facts: DeviceFacts): string {
  return facts.runtime === "native" ? source.replace(/^\s*enable\s+subgroups\s*;/m, "") : source;
}

/**
 * Bytes of `writeBuffer` after which an empty submission is due. Deno frees the staging memory of uploads only when something is
 * submitted: 1 GB of weights would otherwise sit in host memory twice.
 */
export const uploadFlushBytes = 128 << 20;

/**
 * How often an invocation may go round, all its loops and their loops together: Mesa's llvmpipe lets it go 65,535 times, then leaves every loop
 * after one turn and says nothing (seen with Mesa 22.3.6). Kernels whose loops grow with a tensor are given no more at a time.
 */
export const mostIterations = 60_000;

/** `dawn.node` crashes on a `Float16Array`; every runtime takes the bytes beneath a view. */
export function uploadable(data: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}
