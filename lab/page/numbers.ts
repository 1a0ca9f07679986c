/** Numbers as the page writes them. */

/** Two digits behind the point, with a true minus sign. */
export function nats(value: number): string {
  return value.toFixed(2).replace(/^-(?=.*[1-9])/, "−").replace(/^-/, "");
}

/** A time, in the unit that suits it. */
export function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Bytes, in the unit that suits them. */
export function size(bytes: number): string {
  if (bytes < 1e3) return `${Math.round(bytes)} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A count, short. */
export function count(value: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** So many significant digits, with a true minus sign: 0.0312, −1.50e−7. */
export function significant(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return Object.is(value, -0) ? "−0" : "0";
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  const text = exponent >= -4 && exponent < 6
    ? value.toFixed(Math.max(0, digits - 1 - exponent))
    : value.toExponential(digits - 1).replace("e+", "e");
  return text.replaceAll("-", "−");
}

/** A part of a whole in percent: 0.52 %, and what is neither none nor all is told from it. */
export function percent(share: number): string {
  if (share === 0 || share === 1) return `${share * 100} %`;
  if (share < 0.0001) return "< 0.01 %";
  if (share > 0.9999) return "> 99.99 %";
  return `${(share * 100).toFixed(share < 0.1 || share > 0.9 ? 2 : 1)} %`;
}
