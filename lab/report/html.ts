/** HTML by template: whatever is put in is escaped, unless it is itself HTML made here. */

/** Text that is HTML already. */
export class Html {
  constructor(readonly source: string) {}
  toString(): string {
    return this.source;
  }
}

export type Content = Html | string | number | null | undefined | false | readonly Content[];

/** `html\`<p>${text}</p>\``: values are escaped for text and quoted attributes; lists are joined; null and false are nothing. */
export function html(parts: TemplateStringsArray, ...values: Content[]): Html {
  return new Html(parts.reduce((text, part, i) => text + render(values[i - 1]) + part));
}

/** Text of ours, known to be HTML: a style sheet, a script. */
export function trusted(source: string): Html {
  return new Html(source);
}

function render(value: Content): string {
  if (value === null || value === undefined || value === false) return "";
  if (value instanceof Html) return value.source;
  if (Array.isArray(value)) return value.map(render).join("");
  return escapeHtml(String(value));
}

/**
 * Escaped for element content and for attributes in quotes. Control characters, which HTML does not allow, become spaces; marks that
 * override the direction of writing, and could make a text read as another, are left out.
 */
export function escapeHtml(text: string): string {
  return text
    .toWellFormed()
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, " ")
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, "")
    .replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Some phrases of a text marked, each wherever it stands; upper and lower case are alike. Of two that overlap, the longer. */
export function marked(
  text: string,
  phrases: readonly { phrase: string; mark: "fact" | "fault" }[],
): Content[] {
  const known = new Map(
    phrases.filter(({ phrase }) => phrase.trim()).map(({ phrase, mark }) => [phrase.toLowerCase(), mark]),
  );
  if (known.size === 0) return lines(text);
  const longestFirst = [...known.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(
    `(?<![\\p{L}\\p{N}])(?:${
      longestFirst.map((phrase) => phrase.replace(/[^\p{L}\p{N} ]/gu, escapeInPattern)).join("|")
    })(?![\\p{L}\\p{N}])`,
    "giu",
  );
  const content: Content[] = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    const mark = known.get(match[0].toLowerCase()) ?? "fact";
    content.push(lines(text.slice(at, match.index)), html`<mark class="${mark}">${match[0]}</mark>`);
    at = match.index + match[0].length;
  }
  return [...content, lines(text.slice(at))];
}

/** Text with its line breaks, of which an empty line is one. */
function lines(text: string): Content[] {
  return text.split(/(?:\r\n|\r|\n)+/).flatMap((line, i) => i === 0 ? [line] : [trusted("<br>"), line]);
}

function escapeInPattern(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
