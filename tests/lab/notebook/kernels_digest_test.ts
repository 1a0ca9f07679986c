import { assertEquals } from "deno-std/assert/mod.js";
import { declaredKernels } from "../../../kernels/kernel.ts";
import "../../../lab/notebook/kernels_digest.ts";

Deno.test("the digest is of all kernels: none is declared that it does not load", async () => {
  const before = declaredKernels.map(({ name }) => name).sort();
  const folder = new URL("../../../kernels/", import.meta.url);
  for await (const { name } of Deno.readDir(folder)) {
    if (name.endsWith(".ts")) await import(new URL(name, folder).href);
  }
  assertEquals(declaredKernels.map(({ name }) => name).sort(), before);
});
