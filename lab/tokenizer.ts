/**
 * Text to token ids and back, from a Hugging Face folder's tokenizer.json and tokenizer_config.json. Encoding is done by
 * `@huggingface/tokenizers`, the tokenizer inside `@huggingface/transformers`: taken alone it loads in milliseconds and brings no
 * native code, whereas the whole package loads onnxruntime and sharp on import.
 */
import { DamagedFileError, joinPath, parseJson, reason, shown } from "./bytes.ts";

/** The text of the end-of-sequence token: the one that ends every response, in Qwen's base and instruct models alike. */
export const endOfText = "<|endoftext|>";

/** A byte-level BPE tokenizer with the two ids that the recipe needs. */
export interface Tokenizer {
  /**
   * Token ids of a text, nothing added. Special tokens written out in the text become their ids, as in the reference.
   * Throws a RangeError for text with half a surrogate pair, which has no UTF-8 form.
   */
  encode(text: string): number[];
  /**
   * Text of a list of ids; bytes that are not UTF-8 become U+FFFD. With `skipSpecial`, special tokens and ids that no token
   * has (padding among them) are left out; without it the latter are written as `[id]`.
   */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** One token for display: like `decode`, but bytes of a character cut in two are written as `\xF0`. */
  decodeToken(id: number): string;
  /** Id of `<|endoftext|>`, whatever the configuration calls the end of a sequence. */
  readonly eosId: number;
  /** A dedicated padding id: the first one after the tokenizer's own (Qwen2.5: 151665), never EOS. Mask it; never look it up. */
  readonly padId: number;
  /** One more than the largest id that `encode` can give, hence equal to `padId`. */
  readonly vocabularySize: number;
}

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/**
 * Loads the tokenizer of a model folder.
 *
 * @param read gives the bytes of a file, by path
 * @param folder where tokenizer.json and tokenizer_config.json lie
 * @param embeddingRows rows of the model's embedding, which the padding id must stay below
 * @throws DamagedFileError where a file is malformed, is no byte-level BPE tokenizer, lacks `<|endoftext|>`, or leaves no room
 * for the padding id
 */
export async function loadTokenizer(
  read: (path: string) => Promise<Uint8Array>,
  folder: string,
  embeddingRows = Infinity,
): Promise<Tokenizer> {
  const path = joinPath(folder, "tokenizer.json");
  const configPath = joinPath(folder, "tokenizer_config.json");
  const [bytes, configBytes] = await Promise.all([read(path), read(configPath)]);
  const config = parseJson(configPath, configBytes);
  if (!isRecord(config)) throw new DamagedFileError(`${configPath} is not a JSON object; download it again.`);
  return buildTokenizer(path, parseJson(path, bytes), config, embeddingRows);
}

/** Builds a tokenizer from the parsed JSON of the two files; `path` names tokenizer.json in messages. See `loadTokenizer`. */
export async function buildTokenizer(
  path: string,
  json: unknown,
  config: Record<string, unknown>,
  embeddingRows = Infinity,
): Promise<Tokenizer> {
  const { vocabulary, added, sound } = checkTokenizerJson(path, json);

  const texts: string[] = [];
  for (const [token, id] of vocabulary) texts[id] = token;
  const addedById = new Map(added.map((token) => [token.id, token]));
  const eosId = added.find((token) => token.content === endOfText)!.id;
  let padId = texts.length;
  for (const token of added) padId = Math.max(padId, token.id + 1);
  if (padId >= embeddingRows) {
    throw new DamagedFileError(
      `${path} uses ids up to ${
        padId - 1
      } and the embedding has ${embeddingRows} rows, so no id is left for padding; ` +
        `use the tokenizer that belongs to this model or an embedding with at least one spare row.`,
    );
  }

  const library = await import("@huggingface/tokenizers");
  const encoder = (() => {
    try {
      const built = new library.Tokenizer(sound, config);
      built.encode(probe);
      return built;
    } catch (error) {
      const why = error instanceof Error ? reason(error) : shown(error);
      throw new DamagedFileError(`${path} cannot be used as a tokenizer (${why}); download it again.`);
    }
  })();

  const utf8 = new TextEncoder();
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
  const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

  const bytesOf = (id: number): Uint8Array => {
    if (!Number.isInteger(id) || id < 0) {
      throw new RangeError(`${id} is not a token id: ids are whole numbers from 0.`);
    }
    const token = addedById.get(id)?.content;
    if (token !== undefined) return utf8.encode(token);
    const text = texts[id];
    if (text === undefined) return utf8.encode(`[${id}]`);
    return Uint8Array.from(text, (character) => byteOfCharacter.get(character)!);
  };

  const tokenizer: Tokenizer = {
    eosId,
    padId,
    vocabularySize: padId,
    encode(text) {
      if (!text.isWellFormed()) {
        throw new RangeError(
          `The text holds half a surrogate pair at character ${
            illFormedAt(text)
          }, so it is not valid Unicode; ` +
            `replace or remove that character.`,
        );
      }
      return text === "" ? [] : encoder.encode(text, { add_special_tokens: false }).ids;
    },
    decode(ids, options = {}) {
      const pieces: Uint8Array[] = [];
      let length = 0;
      for (let i = 0; i < ids.length; i++) {
        const unnamed = texts[ids[i]] === undefined && !addedById.has(ids[i]);
        if (options.skipSpecial && (unnamed || addedById.get(ids[i])?.special)) continue;
        const piece = bytesOf(ids[i]);
        pieces.push(piece);
        length += piece.length;
      }
      const bytes = new Uint8Array(length);
      let at = 0;
      for (const piece of pieces) {
        bytes.set(piece, at);
        at += piece.length;
      }
      return lenient.decode(bytes);
    },
    decodeToken(id) {
      const bytes = bytesOf(id);
      let text = "";
      for (let i = 0; i < bytes.length;) {
        const length = bytes[i] < 0x80 ? 1 : bytes[i] < 0xe0 ? 2 : bytes[i] < 0xf0 ? 3 : 4;
        try {
          text += strict.decode(bytes.subarray(i, i + length));
          i += length;
        } catch {
          text += "\\x" + bytes[i].toString(16).toUpperCase().padStart(2, "0");
          i++;
        }
      }
      return text;
    },
  };
  // Damage that no check of the file's parts sees: another normaliser, pieces that are dropped, ids that no token has.
  const ids = tokenizer.encode(probe);
  if (!ids.every((id) => id < padId) || tokenizer.decode(ids) !== probe) {
    throw new DamagedFileError(
      `${path}, with the tokenizer_config.json beside it, does not give back the text that it is given; ` +
        `restore the two files of a byte-level BPE model.`,
    );
  }
  return tokenizer;
}

/** A text that every byte-level tokenizer must keep: words, digits, spaces, control characters, other scripts, an emoji, EOS. */
const probe =
  `SUBREDDIT: r/AskReddit\n\nTL;DR: It's 1 2 34  x\t\r\n\0 Été 日本語 🙂 ${endOfText} \t x${endOfText}`;

/** Position, counted in UTF-16 units, of the first half surrogate pair; -1 where there is none. */
export function illFormedAt(text: string): number {
  return text.search(/\p{Surrogate}/u);
}

/**
 * Checks what the library would take on trust: with a missing byte or merge it drops text or splits it wrongly without a word.
 */
function checkTokenizerJson(
  path: string,
  json: unknown,
): { vocabulary: [string, number][]; added: AddedToken[]; sound: Record<string, unknown> } {
  const refuse = (what: string): never => {
    throw new DamagedFileError(`${path} ${what}; restore the tokenizer.json of a byte-level BPE model.`);
  };
  if (!isRecord(json)) return refuse("is not a JSON object");
  const model = json.model;
  if (!isRecord(model)) return refuse('has no "model"');
  if (model.type !== undefined && model.type !== "BPE") {
    return refuse(`has a model of type ${shown(model.type)} where "BPE" is needed`);
  }
  if (!isRecord(model.vocab)) return refuse('has no "model.vocab"');
  if (!Array.isArray(model.merges)) return refuse('has no list "model.merges"');
  if (!endsInByteLevel(json.pre_tokenizer, "pretokenizers")) {
    return refuse("has no ByteLevel pre-tokenizer");
  }
  if (!isRecord(json.decoder) || json.decoder.type !== "ByteLevel") return refuse("has no ByteLevel decoder");

  const vocabulary = Object.entries(model.vocab) as [string, unknown][];
  const tokenOfId = new Map<number, string>();
  for (const [token, id] of vocabulary) {
    if (!isId(id)) return refuse(`gives token ${shown(token)} the id ${shown(id)}`);
    if (tokenOfId.has(id)) return refuse(`gives the id ${id} to two tokens`);
    for (const character of token) {
      if (!byteOfCharacter.has(character) && token !== endOfText) {
        return refuse(`has token ${shown(token)}, which is not written in the byte-level alphabet`);
      }
    }
    tokenOfId.set(id, token);
  }
  const known = model.vocab;
  for (const [character, byte] of byteOfCharacter) {
    if (!Object.hasOwn(known, character)) {
      return refuse(`lacks the token of byte 0x${byte.toString(16).padStart(2, "0")} in "model.vocab"`);
    }
  }
  for (const [i, merge] of model.merges.entries()) {
    const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    const sound = Array.isArray(pair) && pair.length === 2 &&
      pair.every((part) => typeof part === "string" && Object.hasOwn(known, part)) &&
      Object.hasOwn(known, pair.join(""));
    if (!sound) return refuse(`has merge ${i} (${shown(merge)}) that does not join two tokens`);
  }
  const mergeable = vocabulary.some(([token]) => token.length > 1 && token !== endOfText);
  if (model.merges.length === 0 && mergeable) return refuse('has an empty "model.merges"');

  if (!Array.isArray(json.added_tokens)) return refuse('has no list "added_tokens"');
  const added: AddedToken[] = [];
  for (const [i, token] of json.added_tokens.entries()) {
    if (!isRecord(token) || typeof token.content !== "string" || token.content === "" || !isId(token.id)) {
      return refuse(`has added token ${i} without a text or an id`);
    }
    const other = tokenOfId.get(token.id);
    if (other !== undefined && other !== token.content) {
      return refuse(
        `gives the id ${token.id} both to ${shown(other)} and to ${shown(token.content)}`,
      );
    }
    tokenOfId.set(token.id, token.content);
    added.push({ id: token.id, content: token.content, special: token.special === true });
  }
  if (!added.some((token) => token.content === endOfText)) {
    return refuse(`has no added token ${endOfText}, which ends every response`);
  }
  // Older files leave the type out, and the library would take the model for another kind.
  const sound = { ...json, model: { ...model, type: "BPE" } };
  return { vocabulary: vocabulary as [string, number][], added, sound };
}

/** Ids beyond this are taken for damage; it bounds the table of tokens. */
const largestId = 1 << 24;

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= largestId;
}

function endsInByteLevel(part: unknown, listName: string): boolean {
  if (!isRecord(part)) return false;
  if (part.type === "ByteLevel") return true;
  const list = part[listName];
  return Array.isArray(list) && isRecord(list.at(-1)) && list.at(-1).type === "ByteLevel";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The byte-level alphabet of GPT-2 (`bytes_to_unicode` in openai/gpt-2 encoder.py): printable Latin-1 characters stand for their
 * own byte, the 68 other bytes for the characters from U+0100 on.
 */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const table = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = byte >= 0x21 && byte <= 0x7e || byte >= 0xa1 && byte <= 0xff && byte !== 0xad;
    table.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return table;
})();
