import { assertEquals } from "deno-std/assert/mod.js";
import { wgslPieces } from "../../../../lab/page/inspect/wgsl.ts";

Deno.test("WGSL comes in pieces, and whole again", async () => {
  const source =
    "// a: f32\n@compute @workgroup_size(64)\nfn main() { let x = vec4f(1.5e-3); /* fn */ returned = x; }";
  const pieces = wgslPieces(source);
  assertEquals(pieces.map(({ text }) => text).join(""), source);
  const of = (kind: string) => pieces.filter((piece) => piece.kind === kind).map(({ text }) => text);
  assertEquals(of("comment"), ["// a: f32", "/* fn */"]);
  assertEquals(of("attribute"), ["@compute", "@workgroup_size"]);
  assertEquals(of("keyword"), ["fn", "let"]);
  assertEquals(of("type"), ["vec4f"]);
  assertEquals(of("number"), ["64", "1.5e-3"]);
  const folder = new URL("../../../../kernels/", import.meta.url);
  for (const name of ["attention.wgsl", "matmul_nt_software.wgsl"]) {
    const text = await Deno.readTextFile(new URL(name, folder));
    assertEquals(wgslPieces(text).map((piece) => piece.text).join(""), text);
  }
});
