import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { unroll } from "../../kernels/unroll.ts";

Deno.test("loops are written out, nested ones too, by a given count or a number", () => {
  const source = "a\n#for i in rows\n  #for j in 2\n  x$i_$j = $iu;\n  #end\n#end\nb";
  assertEquals(unroll(source, { rows: 2 }).split("\n").map((line) => line.trim()), [
    "a",
    "x0_0 = 0u;",
    "x0_1 = 0u;",
    "x1_0 = 1u;",
    "x1_1 = 1u;",
    "b",
  ]);
});

Deno.test("a loop without end, an end without loop and an unknown count are refused", () => {
  assertThrows(() => unroll("#for i in 2\nx", {}), Error, "#for without #end");
  assertThrows(() => unroll("#end", {}), Error, "#end without #for");
  assertThrows(() => unroll("#for i in rows\n#end", {}), Error, '"rows"');
});
