/**
 * Windows: tensors read as uniform buffers, 64 KiB at a time. Mesa 22's llvmpipe loads from storage buffers lane by lane within loops, at
 * some 17 cycles a number; from uniform buffers it gathers, ten times faster. Every buffer of a software adapter holds at least one window.
 */
import { windowBytes } from "./kernel.ts";
import type { DeviceFacts } from "./device.ts";
import type { Tensor } from "./tensor.ts";

export { windowBytes };

const windowElements = windowBytes / 4;

/** Whether windows are worth their trouble here: llvmpipe built on LLVM 15 or older, as Debian 12 has it. */
export function slowStorage(facts: DeviceFacts): boolean {
  return facts.software && /LLVM (\d|1[0-5])\b/.test(facts.driver);
}

/** The source with its storage binding `name` (read, vec4f) made a window. */
export function windowed(source: string, name: string): string {
  const storage = `var<storage, read> ${name}: array<vec4f>`;
  if (!source.includes(storage)) throw new Error(`no "${storage}" to make a window of`);
  return source.replace(storage, `var<uniform> ${name}: array<vec4f, ${windowBytes / 16}>`);
}

/**
 * How many rows of `columns` elements, `stride` apart, fit into one window, in multiples of `step`, wherever the multiple that it begins with
 * lies. `offset` is the first row's. Windows start at multiples of 64 elements; offset and stride are multiples of 4.
 */
export function windowRows(offset: number, stride: number, columns: number, step: number): number {
  const aligned = offset % 64 === 0 && (step * stride) % 64 === 0;
  const room = windowElements - (aligned ? 0 : 60) - columns;
  return room < 0 ? 0 : Math.floor((Math.floor(room / stride) + 1) / step) * step;
}

/** Where a window starts that shows `element` first, or nearly so: bytes in the buffer; and where in the window that element then is. */
export function windowAt(tensor: Tensor, element: number): { start: number; offset: number } {
  const { buffer, offset } = tensor.allocation;
  const wanted = offset + element * 4;
  const start = Math.floor(Math.min(wanted, buffer.size - windowBytes) / 256) * 256;
  return { start, offset: (wanted - start) / 4 };
}
