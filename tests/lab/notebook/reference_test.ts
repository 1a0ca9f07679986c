import { assert, assertEquals } from "deno-std/assert/mod.js";
import { referenceText } from "../../../headless/notebook-reference.ts";
import { handleKinds } from "../../../lab/notebook/handles.ts";
import { Lab } from "../../../lab/notebook/lab.ts";
import { Ops } from "../../../lab/notebook/lab_ops.ts";
import { ops } from "../../../lab/notebook/ops.ts";
import { reference } from "../../../lab/notebook/reference.ts";

const root = new URL("../../../", import.meta.url);

Deno.test("the reference is what the sources say now", async () => {
  const text = await referenceText((path) => Deno.readTextFile(new URL(path, root)));
  const list = text.slice(text.indexOf("= [") + 2, text.lastIndexOf(";"));
  assertEquals(reference, JSON.parse(list), "run deno task notebook-reference");
});

Deno.test("every method that a cell can call is in the reference, with a docstring and its types", () => {
  const hidden = ["constructor", "ask", "put", "toString"];
  const methodsOf = (kind: { prototype: object }) =>
    Object.getOwnPropertyNames(kind.prototype).filter((name) => !hidden.includes(name)).sort();
  for (const [of, kind] of Object.entries({ lab: Lab, "lab.ops": Ops, ...handleKinds })) {
    const listed = reference.filter((entry) => entry.of === of && entry.kind === "method");
    assertEquals(listed.map(({ name }) => name).sort(), methodsOf(kind));
    for (const { name, doc, signature } of listed) {
      assert(doc.length > 10 && /[.:]$/.test(doc), `${of}.${name}: ${doc}`);
      assert(signature.startsWith(name) && /\): \S/.test(signature) && !/\n|\{$/.test(signature), signature);
    }
  }
});

Deno.test("every operation of the host has a method for cells, and the other way round", () => {
  const methods = reference.filter(({ of }) => of === "lab.ops").map(({ name }) => name);
  assertEquals(methods.sort(), Object.keys(ops).sort());
});
