/** What cells can call, with types and docstrings, read off the very sources of the lab: nothing to keep in step by hand. */
import * as handlesText from "../../notebook/handles.ts?raw";
import * as labText from "../../notebook/lab.ts?raw";
import * as opsText from "../../notebook/lab_ops.ts?raw";
import type { ApiEntry } from "./completion.ts";

/** Of Vite: the file as a text. */
const textOf = (module: unknown) => (module as { default: string }).default;

/** A documented member: its docstring, its name, and how it is called up to its body. */
const member =
  /\/\*\*((?:(?!\*\/)[^])*)\*\/\n {2}(?:async |readonly |get )*([a-z]\w*)((?:<[^(]*>)?\([^]*?\)(?:: [^{]+)?|: [^;=]+)(?= \{|;| =)/g;

/** Members of the classes of a source, each below what cells call its class. */
function membersOf(source: string, callers: Record<string, string>): ApiEntry[] {
  return Object.entries(callers).flatMap(([name, caller]) => {
    const [, body = ""] = source.split(new RegExp(`^export (?:abstract )?class ${name}\\b`, "m"));
    const own = body.split(/^}/m)[0];
    return Array.from(own.matchAll(member), ([, doc, method, type]): ApiEntry => ({
      path: `${caller}.${method}`,
      signature: `${method}${
        type.replace(/\s+/g, " ").replace(/([(\[{<]) | ([)\]}>])/g, "$1$2").replace(/,([)\]}])/g, "$1")
      }`,
      doc: doc.replace(/\n\s*\* ?/g, " ").trim(),
    }));
  });
}

export const reference: readonly ApiEntry[] = [
  ...membersOf(textOf(labText), { Lab: "lab" }),
  ...membersOf(textOf(opsText), { Ops: "lab.ops" }),
  ...membersOf(textOf(handlesText), { Model: "Model", Tensor: "Tensor" }),
];
