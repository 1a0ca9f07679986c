/** The editor of a cell: CodeMirror, loaded when the first cell is edited, and the same colours for code that is only read. */
import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyField, historyKeymap, indentWithTab } from "@codemirror/commands";
import { javascript, localCompletionSource, typescriptLanguage } from "@codemirror/lang-javascript";
import { markdown } from "@codemirror/lang-markdown";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Extension, Prec } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightSpecialChars,
  hoverTooltip,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { highlightCode, tags } from "@lezer/highlight";
import { reference as entries } from "../../notebook/reference.ts";
import { type ApiEntry, labCompletions, labEntryAt } from "./completion.ts";

const reference = entries.map(({ of, name, signature, doc }): ApiEntry => ({
  path: `${of}.${name}`,
  signature,
  doc,
}));

/** Colours are classes of the style sheet, so that code that is only read has them too. */
const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], class: "tok-keyword" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], class: "tok-string" },
  { tag: [tags.number, tags.bool, tags.null], class: "tok-number" },
  { tag: tags.comment, class: "tok-comment" },
  { tag: [tags.typeName, tags.className, tags.namespace], class: "tok-type" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName)], class: "tok-call" },
  { tag: tags.heading, class: "tok-heading" },
  { tag: [tags.strong, tags.emphasis], class: "tok-emphasis" },
  { tag: [tags.link, tags.url], class: "tok-link" },
]);

export interface EditorOptions {
  parent: HTMLElement;
  source: string;
  language: "typescript" | "markdown";
  /** What those hear who do not see the editor. */
  label: string;
  /** Names that cells before this one define. */
  names: () => readonly string[];
  changed(source: string): void;
  /** Escape outside a completion list. */
  left(): void;
  /** The keys that run a cell: Shift, Ctrl or Cmd, or Alt with Enter. */
  ran(how: "stay" | "next" | "insert"): void;
  /** The caret would leave the first or the last line. */
  beyond(direction: -1 | 1): void;
}

export interface CellEditor {
  readonly source: string;
  focus(at?: "start" | "end"): void;
  /** Lines from 1 with what is wrong there. */
  mark(faults: readonly { line: number; column?: number; said: string }[]): void;
  destroy(): void;
}

/** States of cells that were edited before, for their histories of undo. */
const earlier = new Map<string, EditorState>();

/** @param cell whose history of undo is taken up again, where its text is still the one that was left */
export function openEditor(cell: string, options: EditorOptions): CellEditor {
  const kept = earlier.get(cell);
  const extensions = extensionsOf(options);
  const state = kept && kept.doc.toString() === options.source
    ? EditorState.fromJSON(kept.toJSON(histories), { extensions }, histories)
    : EditorState.create({ doc: options.source, extensions });
  const view = new EditorView({ state, parent: options.parent });
  return {
    get source() {
      return view.state.doc.toString();
    },
    focus(at) {
      if (at) view.dispatch({ selection: { anchor: at === "start" ? 0 : view.state.doc.length } });
      view.focus();
    },
    mark(faults) {
      const { doc } = view.state;
      const diagnostics = faults.map(({ line, column = 1, said }): Diagnostic => {
        const { from, to } = doc.line(Math.min(Math.max(1, line), doc.lines));
        const at = Math.min(to, from + column - 1);
        return { from: at, to: Math.max(at, to), severity: "error", message: said };
      });
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    destroy() {
      earlier.set(cell, view.state);
      view.destroy();
    },
  };
}

/** What of a state is kept beside its text and selection. */
const histories = { history: historyField };

function extensionsOf(options: EditorOptions): Extension[] {
  const { language, label, names, changed, left, ran, beyond } = options;
  const run = (how: "stay" | "next" | "insert") => () => (ran(how), true);
  const leave = (direction: -1 | 1) => ({ state }: EditorView) => {
    const { main } = state.selection, line = state.doc.lineAt(main.head).number;
    if (!main.empty || line !== (direction < 0 ? 1 : state.doc.lines)) return false;
    beyond(direction);
    return true;
  };
  const code = language === "typescript";
  return [
    Prec.highest(keymap.of([
      { key: "Shift-Enter", run: run("next") },
      { key: "Mod-Enter", run: run("stay") },
      { key: "Alt-Enter", run: run("insert") },
    ])),
    history(),
    drawSelection(),
    highlightSpecialChars(),
    indentUnit.of("  "),
    EditorState.tabSize.of(2),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    syntaxHighlighting(colours),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": label, spellcheck: code ? "false" : "true" }),
    EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
    code
      ? [
        javascript({ typescript: true }),
        lineNumbers(),
        lintGutter(),
        highlightActiveLine(),
        autocompletion(),
        typescriptLanguage.data.of({ autocomplete: labCompletions(reference, names) }),
        typescriptLanguage.data.of({ autocomplete: localCompletionSource }),
        hoverTooltip((view, position) => {
          const found = labEntryAt(view.state.doc.toString(), position, reference);
          return found &&
            { pos: found.from, end: found.to, above: true, create: () => ({ dom: helpOf(found.entry) }) };
        }),
      ]
      : markdown(),
    keymap.of([
      ...closeBracketsKeymap,
      ...completionKeymap,
      { key: "Tab", run: acceptCompletion },
      { key: "Escape", run: () => (left(), true) },
      { key: "ArrowUp", run: leave(-1) },
      { key: "ArrowDown", run: leave(1) },
      ...historyKeymap,
      ...defaultKeymap,
      indentWithTab,
    ]),
  ];
}

/** Inline help: how a thing is called, and what it does. */
export function helpOf({ signature, doc }: ApiEntry): HTMLElement {
  const help = document.createElement("div");
  help.className = "api-help";
  const code = help.appendChild(document.createElement("code"));
  code.textContent = signature;
  const text = help.appendChild(document.createElement("p"));
  text.textContent = doc;
  return help;
}

/** Code to read, in the editor's colours. */
export function colouredCode(source: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const put = (text: string, classes: string) => {
    if (!classes) return fragment.append(text);
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = text;
    fragment.append(span);
  };
  highlightCode(source, typescriptLanguage.parser.parse(source), colours, put, () => fragment.append("\n"));
  return fragment;
}
