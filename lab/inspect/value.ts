/** One value, in all the ways that it is written. */

export interface DescribedValue {
  value: number;
  /** Enough digits to give the same f32 back. */
  text: string;
  /** The f32's bits: `0xbd00068e`. */
  hex: string;
  kind: "normal" | "subnormal" | "zero" | "infinity" | "nan";
  /** From this f32 to the next one further from zero; NaN where there is none. */
  ulp: number;
}

/**
 * Describes an f32.
 * @param bits its bits, where they are known: the payload of a NaN does not survive being a number
 */
export function describeValue(value: number, bits?: number): DescribedValue {
  const word = bits ?? new Uint32Array(Float32Array.of(value).buffer)[0];
  const exponent = (word >>> 23) & 0xff, mantissa = word & 0x7fffff;
  const kind = exponent === 255
    ? (mantissa ? "nan" : "infinity")
    : exponent > 0
    ? "normal"
    : mantissa
    ? "subnormal"
    : "zero";
  return {
    value,
    text: shortest(value),
    hex: `0x${word.toString(16).padStart(8, "0")}`,
    kind,
    ulp: exponent === 255 ? NaN : 2 ** (Math.max(1, exponent) - 150),
  };
}

/** The fewest digits that read back as the same f32; nine always do. */
function shortest(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Object.is(value, -0)) return "-0";
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
