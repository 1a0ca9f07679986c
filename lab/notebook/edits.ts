/** Changes of a program's text, for what compiles cells and modules to functions. */
import * as acorn from "acorn";
import { full } from "acorn-walk";

/** Changes of a text, each at its place in the original. Line breaks stay where they are. */
export class Edits {
  readonly #text: string;
  readonly #edits: { start: number; end: number; by: string; order: number }[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** Later ones come after earlier ones at the same place. */
  insert(at: number, by: string): void {
    this.replace(at, at, by);
  }

  replace(start: number, end: number, by: string): void {
    this.#edits.push({ start, end, by, order: this.#edits.length });
  }

  /** Takes a piece out, but for its line breaks. */
  blank(start: number, end: number): void {
    this.replace(start, end, this.#text.slice(start, end).replace(/[^\n\r\u2028\u2029]+/g, " "));
  }

  /** Takes a statement out: what begins with a bracket after it does not become a part of the one before. */
  blankStatement({ start, end }: acorn.Node): void {
    this.blank(start, end);
    this.insert(end, ";");
  }

  result(): string {
    let result = "", done = 0;
    for (const { start, end, by } of this.#edits.sort((a, b) => a.start - b.start || a.order - b.order)) {
      result += this.#text.slice(done, start) + by;
      done = end;
    }
    return result + this.#text.slice(done);
  }
}

/**
 * A program as a module, with its tokens.
 * @throws SyntaxError with `loc`, as acorn does
 */
export function parseModule(code: string): { program: acorn.Program; tokens: acorn.Token[] } {
  const tokens: acorn.Token[] = [];
  const program = acorn.parse(code, {
    ecmaVersion: "latest",
    sourceType: "module",
    allowAwaitOutsideFunction: true,
    allowHashBang: false,
    locations: true,
    onToken: tokens,
  });
  // What runs as a function's body may have HTML's comments, which no module has, and nor does the parser's reading of one: the rest of the
  // line would be gone where it runs, and what was read as a text after it would be code that nobody has looked at.
  const comment = tokens.find(({ type, start }) =>
    type === acorn.tokTypes.relational && code.startsWith("<!--", start)
  );
  if (comment) {
    const what = 'Between "<" and "!--" has to be a space: without, they begin a comment of HTML';
    throw Object.assign(new SyntaxError(what), { loc: acorn.getLineInfo(code, comment.start) });
  }
  return { program, tokens };
}

/** Where statements start that follow others: what begins with a bracket there would go on with the one before it. */
export function statementStarts(program: acorn.Program): Set<number> {
  const starts = new Set<number>();
  full(program, (node) => {
    const { body, consequent } = node as { body?: unknown; consequent?: unknown };
    for (const list of [body, consequent]) {
      if (!Array.isArray(list) || node.type === "ClassBody") continue;
      for (const statement of list) starts.add(statement.start);
    }
  });
  return starts;
}

/** The text that an expression is, if that can be seen. */
export function writtenOut(expression: acorn.Expression): string | undefined {
  if (expression.type === "Literal" && typeof expression.value === "string") return expression.value;
  if (expression.type !== "TemplateLiteral" || expression.expressions.length > 0) return undefined;
  return expression.quasis[0].value.cooked ?? undefined;
}
