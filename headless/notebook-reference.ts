/**
 * `deno task notebook-reference`: makes lab/notebook/reference.ts, what the editor completes and explains, from the sources of what cells see.
 */
import { failWith } from "./exit.ts";

/** Which class is reached how in a cell. */
const sources = [
  { file: "lab/notebook/lab.ts", className: "Lab", of: "lab" },
  { file: "lab/notebook/lab_ops.ts", className: "Ops", of: "lab.ops" },
  { file: "lab/notebook/handles.ts", className: "Model", of: "Model" },
  { file: "lab/notebook/handles.ts", className: "Tensor", of: "Tensor" },
  { file: "lab/notebook/training.ts", className: "Trainer", of: "Trainer" },
  { file: "lab/notebook/training.ts", className: "Microscope", of: "Microscope" },
] as const;

interface Entry {
  of: string;
  name: string;
  kind: "method" | "property";
  signature: string;
  doc: string;
}

/** The members of a class that have a docstring, as deno fmt lays them out. Private ones, symbols and the constructor are left out. */
export function membersOf(source: string, className: string, of: string): Entry[] {
  const start = source.search(new RegExp(`^export class ${className}\\b`, "m"));
  if (start < 0) throw new Error(`There is no class ${className}.`);
  const body = source.slice(start, source.indexOf("\n}\n", start));
  const form =
    /^ {2}\/\*\*((?:(?!\*\/)[^])*)\*\/\n {2}(?:readonly ([a-z]\w*): ([^;]*);|(?:async )?(?!constructor\b)([a-z]\w*)((?:<[^(]*>)?\([^]*?\): (?:[^\n]*?|Promise<\n[^]*?\n {2}>)) \{\n)/gm;
  return Array.from(body.matchAll(form), ([, comment, property, type, method, rest]): Entry => ({
    of,
    name: property ?? method,
    kind: property ? "property" : "method",
    signature: property ? `${property}: ${oneLine(type)}` : method + oneLine(rest),
    doc: comment.replace(/^\s*\* ?/gm, "").replace(/\s+/g, " ").trim()
      .replace(/ ?@returns (.*?)\.?$/, " Returns $1."),
  }));
}

/** Without line breaks, comments, and the commas that end lists of lines. */
function oneLine(text: string): string {
  return text.replace(/\/\*\*[^]*?\*\//g, "").replace(/\s+/g, " ")
    .replace(/([([]) /g, "$1").replace(/,? ([)\]])/g, "$1").trim();
}

/** The text of reference.ts. @param read gives a file's text by its path in the repository */
export async function referenceText(read: (path: string) => Promise<string>): Promise<string> {
  const entries: Entry[] = [];
  for (const { file, className, of } of sources) entries.push(...membersOf(await read(file), className, of));
  return `/**
 * What cells can call, for completion and help in the editor. Made by deno task notebook-reference from the docstrings of lab.ts,
 * lab_ops.ts, handles.ts and training.ts; a test sees to it that it is up to date.
 */
export interface ReferenceEntry {
  /** What it is a member of: "lab", "lab.ops", or the kind of a handle: "Model", "Tensor", "Trainer" … */
  of: string;
  name: string;
  kind: "method" | "property";
  /** With its types. */
  signature: string;
  doc: string;
}

export const reference: readonly ReferenceEntry[] = ${JSON.stringify(entries, null, 2)};
`;
}

const root = new URL("../", import.meta.url);

if (import.meta.main) {
  try {
    const target = new URL("lab/notebook/reference.ts", root);
    await Deno.writeTextFile(target, await referenceText((path) => Deno.readTextFile(new URL(path, root))));
    const { success } = await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", target.pathname] })
      .output();
    if (!success) throw new Error("deno fmt cannot format lab/notebook/reference.ts");
    console.log("Written: lab/notebook/reference.ts");
  } catch (error) {
    failWith(error);
  }
}
