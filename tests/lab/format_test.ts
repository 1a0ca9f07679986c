import { assertEquals } from "deno-std/assert/mod.js";
import { duration, fixed, formatBytes, formatFigure, percent, shortCount } from "../../lab/format.ts";

Deno.test("figures have about four digits", () => {
  const cases: [number | null, string][] = [
    [2.31, "2.310"],
    [0.00421, "0.0042"],
    [3e-6, "3e−6"],
    [-2.46e-7, "−2.5e−7"],
    [12345, "12,345"],
    [12345.6, "12,346"],
    [-1234567, "−1,234,567"],
    [0.5, "0.500"],
    [99.99, "99.99"],
    [0, "0"],
    [NaN, "–"],
    [null, "–"],
  ];
  assertEquals(cases.map(([value]) => formatFigure(value)), cases.map(([, text]) => text));
});

Deno.test("durations, sizes, counts and shares read as people say them", () => {
  assertEquals([0.04, 9.96, 42.4, 59.6, 187, 7387, 4 * 86400 + 3 * 3600 + 720].map(duration), [
    "0.0 s",
    "10 s",
    "42 s",
    "1:00",
    "3:07",
    "2:03:07",
    "4 d 03:12",
  ]);
  assertEquals([0, 1023, 1024, 1.5 * 2 ** 20, 2 ** 30 - 1, 15.8 * 2 ** 30].map(formatBytes), [
    "0 B",
    "1023 B",
    "1 KiB",
    "1.5 MiB",
    "1 GiB",
    "15.8 GiB",
  ]);
  assertEquals([7, 999, 999.9, 12345, 4.56e6].map(shortCount), ["7", "999", "1k", "12.3k", "4.56M"]);
  assertEquals([percent(0.632), percent(0.632, 1), percent(undefined), fixed(-1.005, 1)], [
    "63 %",
    "63.2 %",
    "–",
    "−1.0",
  ]);
});
