/** A tensor's cells as a small picture, for readers of notebooks that know nothing of our tensors. */
import { type ColourScale, paint } from "../inspect/colour.ts";
import { encodePng } from "../inspect/png.ts";
import type { TensorView } from "./display.ts";

/** Pixels that a picture is about as wide and high as, at least; cells are enlarged without blur. */
const wanted = 192;

/** PNG in base64. Blue above zero, red below; ±the 99 % quantile of the cells' magnitudes are the ends of the scale. */
export async function tensorPicture({ width, height, extreme }: TensorView): Promise<string> {
  const magnitudes = extreme.filter(Number.isFinite).map(Math.abs).sort();
  const cut = magnitudes[Math.floor(0.99 * (magnitudes.length - 1))] || magnitudes.at(-1) || 1;
  const scale: ColourScale = { kind: "fixed", extent: cut };
  const bad = Uint32Array.from(extreme, (value) => Number.isFinite(value) ? 0 : 1);
  const times = Math.max(1, Math.floor(wanted / Math.max(width, height)));
  return base64(await encodePng(paint(extreme, bad, scale), width, height, times));
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
