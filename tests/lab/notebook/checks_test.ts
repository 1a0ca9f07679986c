import { assertEquals } from "deno-std/assert/mod.js";
import { check, checkBundle } from "../../../lab/notebook/checks.ts";

const words = (...args: Parameters<typeof check>) => checkBundle(check(...args))["text/plain"];

Deno.test("values are held against what is expected: exactly, within a tolerance, element by element", () => {
  assertEquals(words("same", [1, 2], [1, 2]), "✓ same");
  assertEquals(words("typed", Float32Array.of(1, 2), [1, 2]), "✓ typed");
  assertEquals(
    words("near", 1.001, 1, { tolerance: 0.01 }),
    "✓ near: within tolerance; value is 1.001 instead of 1, 0.001 apart",
  );
  assertEquals(
    words("far", [1, 2.5], [1, 2], { tolerance: { relative: 0.1 } }),
    "✗ far: value[1] is 2.5 instead of 2, 0.5 apart",
  );
  assertEquals(words("nan", NaN, 0, { tolerance: 1e9 }), "✗ nan: value is NaN instead of 0, NaN apart");
  assertEquals(words("both nan", NaN, NaN), "✓ both nan");
  assertEquals(words("length", [1], [1, 2]), "✗ length: value.length is 1 instead of 2");
  assertEquals(
    words("field", { a: { b: "x" } }, { a: { b: "y" } }),
    '✗ field: value.a.b is "x" instead of "y"',
  );
  assertEquals(
    words("extra", { a: 1, b: 2 }, { a: 1 }),
    '✗ extra: value.b is 2 instead of "nothing"'.replace('"nothing"', "null"),
  );
});

Deno.test("an expectation is of tier A, C where it has a tolerance, or what is said; long values are shortened", () => {
  assertEquals([
    check("a", 1, 1).tier,
    check("c", 1, 1, { tolerance: 1 }).tier,
    check("b", 1, 1, { tier: "B" }).tier,
  ], ["A", "C", "B"]);
  const long = check("long", Array.from({ length: 50 }, (_, i) => i), 1);
  assertEquals(long.found, [0, 1, 2, 3, 4, 5, 6, 7, "… 42 more"]);
});
