/**
 * Trains a byte-level byte-pair encoding and writes it as a Hugging Face `tokenizer.json` shaped like Qwen2's:
 * NFC, Qwen2's split pattern (every digit alone), bytes as printable letters, merges by rank, and
 * `<|endoftext|>` as the only special token.
 */

import { endOfText } from "../tokenizer.ts";

/** Qwen2's split of a text into pieces that merges never cross (tokenizer.json of Qwen2.5). */
const splitPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** A trained encoding. Ids 0 … 255 are the bytes; id 256 + r is the product of merge r. */
export interface Bpe {
  /** Tokens in the order of their ids, spelled in byte letters. */
  tokens: string[];
  /** Pairs of tokens, the earliest first. */
  merges: [string, string][];
}

/**
 * Learns merges by repeatedly joining the most frequent neighbouring pair (Sennrich et al. 2016, algorithm 1) over
 * the pieces of the texts. Ties go to the pair that sorts first by code units, so the result depends on
 * nothing but the multiset of pieces. Stops early when no pair occurs twice.
 *
 * @param merges the most merges to learn; the encoding gets 256 + that many tokens
 */
export function trainBpe(texts: Iterable<string>, merges: number): Bpe {
  const letters = byteLetters();
  const pattern = new RegExp(splitPattern, "gu");
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [piece] of text.normalize("NFC").matchAll(pattern)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1);
    }
  }
  const bytes = new TextEncoder();
  const pieces = [...counts].map(([piece, count]) => ({
    symbols: [...bytes.encode(piece)].map((byte) => letters[byte]),
    count,
  }));
  const learnt: Bpe = { tokens: byteOrder().map((byte) => letters[byte]), merges: [] };
  const known = new Set(learnt.tokens);
  while (learnt.merges.length < merges) {
    const pair = mostFrequentPair(pieces);
    if (!pair) break;
    const joined = pair[0] + pair[1];
    if (!known.has(joined)) learnt.tokens.push(joined);
    else throw new Error(`two merges spell the same token "${joined}": train on other texts`);
    known.add(joined);
    learnt.merges.push(pair);
    for (const piece of pieces) piece.symbols = join(piece.symbols, pair);
  }
  return learnt;
}

/** The pair of neighbours with the highest count, at least 2; ties by code units. Undefined if there is none. */
function mostFrequentPair(pieces: { symbols: string[]; count: number }[]): [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { symbols, count } of pieces) {
    for (let at = 0; at + 1 < symbols.length; at++) {
      // A space cannot stand in a token's spelling, so it separates the two without doubt.
      const key = symbols[at] + " " + symbols[at + 1];
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
  }
  let best = "";
  let most = 1;
  for (const [key, count] of counts) {
    if (count > most || (count === most && best !== "" && key < best)) [best, most] = [key, count];
  }
  return best === "" ? undefined : best.split(" ") as [string, string];
}

/** The symbols with every occurrence of the pair joined, left to right. */
function join(symbols: string[], [left, right]: [string, string]): string[] {
  const joined: string[] = [];
  for (let at = 0; at < symbols.length; at++) {
    if (symbols[at] === left && symbols[at + 1] === right) {
      joined.push(left + right);
      at++;
    } else joined.push(symbols[at]);
  }
  return joined;
}

/** The order in which GPT-2 and Qwen2 number the bytes: printable ones first. */
function byteOrder(): number[] {
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  return [...all.filter(printable), ...all.filter((byte) => !printable(byte))];
}

/** The letter that stands for each byte: itself where printable, otherwise the next free one from U+0100. */
function byteLetters(): string[] {
  const letters = new Array<string>(256);
  byteOrder().forEach((byte, rank) =>
    letters[byte] = String.fromCodePoint(rank < 188 ? byte : 256 + rank - 188)
  );
  return letters;
}

/** `tokenizer.json`: `<|endoftext|>` takes the id after the last merge; the pad is the id after that, unnamed. */
export function tokenizerJson({ tokens, merges }: Bpe): string {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const split = { type: "Split", pattern: { Regex: splitPattern }, behavior: "Isolated", invert: false };
  return JSON.stringify(
    {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [{
        id: tokens.length,
        content: endOfText,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      }],
      normalizer: { type: "NFC" },
      pre_tokenizer: { type: "Sequence", pretokenizers: [split, byteLevel] },
      post_processor: byteLevel,
      decoder: byteLevel,
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: "",
        end_of_word_suffix: "",
        fuse_unk: false,
        byte_fallback: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: merges.map((pair) => pair.join(" ")),
      },
    },
    null,
    1,
  ) + "\n";
}

/** `tokenizer_config.json` to go with it. It names no pad token: padding is masked, never looked up. */
export function tokenizerConfigJson({ tokens }: Bpe): string {
  const special = { content: endOfText, lstrip: false, normalized: false, rstrip: false, single_word: false };
  return JSON.stringify(
    {
      add_prefix_space: false,
      added_tokens_decoder: { [tokens.length]: { ...special, special: true } },
      bos_token: null,
      clean_up_tokenization_spaces: false,
      eos_token: endOfText,
      errors: "replace",
      model_max_length: 256,
      pad_token: null,
      split_special_tokens: false,
      tokenizer_class: "Qwen2Tokenizer",
      unk_token: null,
    },
    null,
    1,
  ) + "\n";
}
