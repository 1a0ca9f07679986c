/** What `lab` offers at a place in a cell. */
import type { Completion, CompletionContext, CompletionSource } from "@codemirror/autocomplete";

/** One thing that a cell can reach. */
export interface ApiEntry {
  /** Where: "lab.open", "Model.parameters". */
  path: string;
  /** How it is called, with types. */
  signature: string;
  /** What it does. */
  doc: string;
}

/** Completion after `lab.` and of names that other cells define. */
export function labCompletions(api: readonly ApiEntry[], names: () => readonly string[]): CompletionSource {
  return (context: CompletionContext) => {
    const member = context.matchBefore(/[A-Za-z_$][\w$]*(?:\.[\w$]*)+/);
    if (member) {
      const owner = member.text.replace(/\.[^.]*$/, "");
      const known = membersOf(owner, api);
      // Of what a name stands for nothing is known: most likely it is something that the lab gave.
      const options = known.length > 0
        ? known
        : ["Model", "Tensor", "Trainer", "Microscope"].flatMap((kind) => membersOf(kind, api));
      return options.length === 0
        ? null
        : { from: member.from + owner.length + 1, options, validFor: /^[\w$]*$/ };
    }
    const word = context.matchBefore(/(?<![.\w$])[A-Za-z_$][\w$]*/);
    if (!word && !context.explicit) return null;
    const options: Completion[] = [
      { label: "lab", type: "namespace", detail: "the lab", boost: 1 },
      ...names().map((label) => ({ label, type: "variable", detail: "another cell’s" })),
    ];
    return { from: word?.from ?? context.pos, options, validFor: /^[\w$]*$/ };
  };
}

function membersOf(owner: string, api: readonly ApiEntry[]): Completion[] {
  return api.flatMap(({ path, signature, doc }): Completion[] => {
    const rest = path.startsWith(`${owner}.`) ? path.slice(owner.length + 1) : "";
    if (rest === "" || rest.includes(".")) return [];
    return [{
      label: rest,
      type: signature.includes("(") ? "method" : "property",
      detail: signature,
      info: doc,
    }];
  });
}

/** The entry that the text at a position names: `lab.show` from its "l" to its "w". */
export function labEntryAt(
  source: string,
  position: number,
  api: readonly ApiEntry[],
): { entry: ApiEntry; from: number; to: number } | null {
  for (const match of source.matchAll(/[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*/g)) {
    if (position < match.index || position > match.index + match[0].length) continue;
    // Up to the end of the word that is pointed at.
    const within = position - match.index;
    const end = match[0].indexOf(".", within);
    const path = end < 0 ? match[0] : match[0].slice(0, end);
    const entry = api.find((one) => one.path === path);
    return entry ? { entry, from: match.index, to: match.index + path.length } : null;
  }
  return null;
}
