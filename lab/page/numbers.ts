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
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A count, short. */
export function count(value: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}
