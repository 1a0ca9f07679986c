/**
 * The TypeScript of a cell without its types. Only erasable TypeScript is taken, the subset that Deno and Node strip as well: what has
 * to be turned into code (enum, namespace, parameter properties, `import =`, decorators) is refused where it stands.
 */
import { decode } from "@jridgewell/sourcemap-codec";
import { transform } from "sucrase";
// Sucrase compiles enums and drops namespaces without a word; its tokens tell where they are. These files of its come without types.
import * as sucraseParser from "sucrase/dist/parser/index.js";
import * as sucraseTokens from "sucrase/dist/parser/tokenizer/types.js";

/** A cell that cannot be compiled. The message is one sentence that ends with the place. */
export class CellSyntaxError extends Error {
  override name = "CellSyntaxError";
  /**
   * @param what one sentence without its full stop
   * @param line of the cell, from 1
   * @param column in UTF-16 code units, from 1
   */
  constructor(readonly what: string, readonly line: number, readonly column: number) {
    super(`${what} (line ${line}, column ${column}).`);
  }
}

/** JavaScript on the lines of the TypeScript that it came from. */
export interface Stripped {
  code: string;
  /** Where a place in the code (line from 1, column from 0) was in the source: line and column from 1. */
  placeInSource(line: number, column: number): { line: number; column: number };
}

interface Token {
  type: number;
  start: number;
  end: number;
  isType: boolean;
}

const { parse } = sucraseParser as unknown as {
  parse(source: string, jsx: boolean, typescript: boolean, flow: boolean): { tokens: Token[] };
};
const tt = (sucraseTokens as unknown as { TokenType: Record<string, number> }).TokenType;

/**
 * Takes the types out of a cell. Every line stays the line that it was.
 * @throws CellSyntaxError on what is no TypeScript, and on TypeScript that is not erasable
 */
export function stripTypes(source: string): Stripped {
  try {
    refuseUnerasable(source, parse(source, false, true, false).tokens);
    const { code, sourceMap } = transform(source, {
      transforms: ["typescript"],
      disableESTransforms: true,
      keepUnusedImports: true,
      filePath: "cell",
      sourceMapOptions: { compiledFilename: "cell" },
    });
    const lines = decode(sourceMap!.mappings);
    return {
      code,
      placeInSource(line, column) {
        const before = (lines[line - 1] ?? []).findLast(([at]) => at <= column);
        return { line, column: 1 + (before?.length === 4 ? before[3] + column - before[0] : column) };
      },
    };
  } catch (error) {
    const { loc, message } = error as SyntaxError & { loc?: { line: number; column: number } };
    if (!(error instanceof SyntaxError) || !loc) throw error;
    const what = message.replace(/^Error transforming cell: /, "").replace(/ \(\d+:\d+\)$/, "");
    throw new CellSyntaxError(what, loc.line, loc.column);
  }
}

function refuseUnerasable(source: string, tokens: readonly Token[]): void {
  const text = (i: number) => i >= 0 && i < tokens.length ? source.slice(tokens[i].start, tokens[i].end) : "";
  const type = (i: number) => tokens[i]?.type;
  const refuse = (i: number, what: string): never => {
    const { line, column } = placeOf(source, tokens[i].start);
    throw new CellSyntaxError(what, line, column);
  };
  for (let i = 0; i < tokens.length; i++) {
    const declared = text(i - 1) === "declare" || (text(i - 1) === "const" && text(i - 2) === "declare");
    if (type(i) === tt.at && !tokens[i].isType) {
      refuse(i, "A cell has no decorators; call the function on the class or method instead");
    } else if (type(i) === tt._enum && !tokens[i].isType && !declared) {
      refuse(
        i,
        `The enum ${text(i + 1)} is more than a type; write an object and "as const", or a union of texts`,
      );
    } else if (isNamespace(i)) {
      if (!declared) {
        refuse(i, `The namespace ${text(i + 1)} is more than a type; write an object or declare its names`);
      }
      // What an ambient namespace holds is ambient too.
      i = closing(i);
    } else if (type(i) === tt._import && type(i + 1) === tt.name && type(i + 2) === tt.eq) {
      refuse(i, `A cell has no "import ${text(i + 1)} = …"; write import ${text(i + 1)} from "…"`);
    } else if (text(i) === "constructor" && type(i + 1) === tt.parenL && !tokens[i].isType) {
      const property = parameterProperty(i + 1);
      if (property) {
        refuse(
          property,
          `"${text(property)}" makes a field of a constructor's parameter; declare the field and assign it`,
        );
      }
    }
  }

  function isNamespace(i: number): boolean {
    if (!/^(namespace|module)$/.test(text(i)) || !tokens[i].isType) return false;
    if (!/^["'\p{ID_Start}$_]/u.test(text(i + 1))) return false;
    let after = i + 2;
    while (type(after) === tt.dot) after += 2;
    return type(after) === tt.braceL;
  }

  /** The index of the brace that closes the first one after `i`. */
  function closing(i: number): number {
    let depth = 0;
    for (; i < tokens.length; i++) {
      if (type(i) === tt.braceL || type(i) === tt.dollarBraceL) depth++;
      else if (type(i) === tt.braceR && --depth === 0) break;
    }
    return i;
  }

  /** The index of a modifier in front of a parameter of the list that opens at `i`. */
  function parameterProperty(i: number): number | undefined {
    const modifiers = [tt._public, tt._private, tt._protected, tt._readonly, tt._override];
    const opening = [tt.parenL, tt.braceL, tt.bracketL, tt.dollarBraceL];
    const closing = [tt.parenR, tt.braceR, tt.bracketR];
    let depth = 0;
    for (; i < tokens.length; i++) {
      if (opening.includes(type(i))) depth++;
      else if (closing.includes(type(i)) && --depth === 0) return undefined;
      else if (depth === 1 && modifiers.includes(type(i)) && [tt.parenL, tt.comma].includes(type(i - 1))) {
        return i;
      }
    }
  }
}

/** Line and column, both from 1, of an offset. */
function placeOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, offset).split("\n");
  return { line: before.length, column: before.at(-1)!.length + 1 };
}
