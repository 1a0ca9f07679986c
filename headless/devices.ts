/**
 * How the command line gets a device: Dawn (npm `webgpu`) or Deno's own WebGPU. Dawn is the default on a hardware GPU, where it alone
 * reaches f16 and matrix units; Deno's own is the default on software adapters, where it is the faster and runs on older drivers.
 */
import { dawnToggles, type DeviceRequest, openDevice } from "../kernels/device.ts";
import { Gpu } from "../kernels/gpu.ts";

export type GpuChoice = "auto" | "dawn" | "native";

export interface GpuOptions extends Pick<DeviceRequest, "limits" | "features"> {
  /** Switches off Dawn's bounds checks, zero-initialisation and validation. */
  fast?: boolean;
}

/**
 * Opens the chosen device.
 * @throws if there is none, saying what to install.
 */
export async function openGpu(choice: GpuChoice = "auto", options: GpuOptions = {}): Promise<Gpu> {
  if (choice === "dawn") {
    return new Gpu(await openDevice(await dawn(options), { runtime: "dawn", ...options }));
  }
  if (choice === "native") return new Gpu(await openDevice(native(), { runtime: "native", ...options }));
  const own = await openDevice(native(), { runtime: "native", ...options });
  if (own.facts.software) return new Gpu(own);
  own.device.destroy();
  return await openGpu("dawn", options);
}

function native(): GPU {
  if (!navigator.gpu) {
    throw new Error("this Deno has no WebGPU: run it with --unstable-webgpu, or use --gpu dawn");
  }
  // On a machine without a desktop the Vulkan driver's Wayland client complains three times unless it is told where sockets would be.
  if (Deno.build.os === "linux" && !Deno.env.has("XDG_RUNTIME_DIR")) Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
  return navigator.gpu;
}

async function dawn(options: GpuOptions): Promise<GPU> {
  const { create, globals } = await import("webgpu");
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
  }
  return create([...(options.fast ? dawnToggles.fast : dawnToggles.always), ...dawnToggles.profiling]);
}

/** Dawn's null backend: compiles every shader and checks every call, computes nothing. For tests without any GPU. */
export async function openNullDevice(): Promise<Gpu> {
  const { create, globals } = await import("webgpu");
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
  }
  const gpu = create(["backend=null", ...dawnToggles.always]);
  return new Gpu(await openDevice(gpu, { runtime: "dawn" }));
}
