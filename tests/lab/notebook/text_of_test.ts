import { assert, assertEquals } from "deno-std/assert/mod.js";
import { consoleText, textOf } from "../../../lab/notebook/text_of.ts";

Deno.test("values are shown as a console shows them", () => {
  class Point {
    constructor(readonly x: number) {}
    get far() {
      return this.x > 3;
    }
  }
  const circular: Record<string, unknown> = { name: "c" };
  circular.self = circular;
  for (
    const [value, text] of [
      ["a\n", '"a\\n"'],
      [-0, "-0"],
      [5n, "5n"],
      [[1, [2, [3, [4, [5]]]]], "[1, [2, [3, [4, [Array]]]]]"],
      [{ a: 1, "b-c": undefined }, '{ a: 1, "b-c": undefined }'],
      [new Point(2), "Point { x: 2 }"],
      [new Map([["k", new Set([1])]]), 'Map(1) { "k" => Set(1) { 1 } }'],
      [Float32Array.of(1, 2.5), "Float32Array(2) [1, 2.5]"],
      [new RangeError("far"), "RangeError: far"],
      [circular, '{ name: "c", self: [Circular] }'],
      [{
        get x() {
          throw new Error();
        },
      }, "{ x: [Getter] }"],
      [Object.create(null), "[Object: null prototype] {}"],
      [class A {}, "[class: A]"],
      [Math.max, "[Function: max]"],
      [Symbol("s"), "Symbol(s)"],
      [new Date(0), "1970-01-01T00:00:00.000Z"],
      [
        new Proxy({}, {
          ownKeys: () => {
            throw new Error();
          },
        }),
        "[an object that cannot be shown]",
      ],
    ] as const
  ) assertEquals(textOf(value), text);
});

Deno.test("large values are cut, and wide ones broken over lines", () => {
  assert(textOf("x".repeat(1e6)).length < 21_000);
  assert(textOf(Array.from({ length: 1e6 }, (_, i) => i)).endsWith("… 999900 more\n]"));
  const nested = Array.from(
    { length: 90 },
    () => Array.from({ length: 90 }, () => ({ text: "y".repeat(200) })),
  );
  assert(textOf(nested).length < 30_000);
  assertEquals(textOf({ first: "a".repeat(60), second: "b".repeat(60) }).split("\n").length, 4);
});

Deno.test("console formats", () => {
  assertEquals(
    consoleText(["%s is %d%%, %i of %o%c", "x", "5", 7.9, { a: 1 }, "color: red", "rest"]),
    "x is 5%, 7 of { a: 1 } rest",
  );
  assertEquals(consoleText(["100%", 1]), "100% 1");
});
