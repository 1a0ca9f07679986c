/** Score against distance from the SFT policy: the plane in which over-optimisation shows. */
import { type Curve } from "./columns.ts";
import { paired } from "./curves.ts";

/** Means over some updates. */
export interface PlanePoint {
  /** √ of the mean KL, √nats; of a mean below 0, 0. */
  x: number;
  y: number;
  kl: number;
  /** The first and the last update. */
  from: number;
  to: number;
}

/** A run's course over the plane: single updates, and means over `parts` equal parts of them. */
export function planeCourse(
  kl: Curve,
  score: Curve,
  parts: number,
): { dots: PlanePoint[]; line: PlanePoint[] } {
  const points = paired(kl, score);
  const mean = (some: typeof points): PlanePoint => {
    const of = (key: "a" | "b") => some.reduce((sum, point) => sum + point[key], 0) / some.length;
    return {
      x: Math.sqrt(Math.max(0, of("a"))),
      y: of("b"),
      kl: of("a"),
      from: some[0].step,
      to: some.at(-1)!.step,
    };
  };
  const size = Math.max(1, Math.ceil(points.length / parts));
  const line: PlanePoint[] = [];
  for (let i = 0; i < points.length; i += size) line.push(mean(points.slice(i, i + size)));
  return { dots: points.map((point) => mean([point])), line };
}
