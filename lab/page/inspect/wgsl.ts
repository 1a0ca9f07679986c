/** WGSL for reading: comments, keywords, types, attributes and numbers told apart. */

export type WgslKind = "comment" | "keyword" | "type" | "attribute" | "number" | "plain";

const keywords =
  "fn let var const override struct if else for while loop break continue return switch case default enable requires discard alias workgroup storage uniform private function read read_write true false";
const types =
  "bool i32 u32 f32 f16 array atomic mat[234]x[234][fh]? vec[234][iufh]? ptr sampler texture_\\w+ subgroup_matrix_\\w+";

const alternatives = (words: string) => words.split(" ").join("|");

const form = new RegExp(
  [
    String.raw`(?<comment>//[^\n]*|/\*[^]*?\*/)`,
    String.raw`(?<attribute>@\w+)`,
    String.raw`(?<keyword>\b(?:${alternatives(keywords)})\b)`,
    String.raw`(?<type>\b(?:${alternatives(types)})\b)`,
    String.raw`(?<number>\b(?:0x[\da-fA-F]+|\d+\.?\d*(?:e[+-]?\d+)?)[iufh]?\b)`,
  ].join("|"),
  "g",
);

/** The text in pieces that are told apart; joined they are the text again. */
export function wgslPieces(source: string): { kind: WgslKind; text: string }[] {
  const pieces: { kind: WgslKind; text: string }[] = [];
  let at = 0;
  for (const match of source.matchAll(form)) {
    if (match.index > at) pieces.push({ kind: "plain", text: source.slice(at, match.index) });
    const kind = Object.entries(match.groups!).find(([, text]) => text !== undefined)![0] as WgslKind;
    pieces.push({ kind, text: match[0] });
    at = match.index + match[0].length;
  }
  if (at < source.length) pieces.push({ kind: "plain", text: source.slice(at) });
  return pieces;
}
