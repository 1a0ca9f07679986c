/**
 * The tokenizer files of an exported folder. Qwen's own pad with `<|endoftext|>`, the token that ends every response, so a reward model
 * would read its score at padding; here padding is a token of its own, at the id that the recipe uses and never looks up.
 */
import { type Files, joinPath, readJson, writeJson } from "../bytes.ts";
import { endOfText, padText, type Tokenizer } from "../tokenizer.ts";

/**
 * Writes tokenizer.json and tokenizer_config.json with that padding token.
 * @param source a folder from which `tokenizer` has been loaded, so that its files are known to be sound
 * @param side which side batches are padded on: left for writing, right for scoring
 */
export async function writeTokenizerFiles(
  files: Files,
  source: string,
  target: string,
  tokenizer: Tokenizer,
  side: "left" | "right",
): Promise<void> {
  const flags = { lstrip: false, normalized: false, rstrip: false, single_word: false, special: true };
  const pad = { content: padText, ...flags };
  const json = await readJson(files, joinPath(source, "tokenizer.json")) as {
    added_tokens: { id: number }[];
    padding?: unknown;
    truncation?: unknown;
  };
  const others = json.added_tokens.filter(({ id }) => id !== tokenizer.padId);
  await writeJson(files, joinPath(target, "tokenizer.json"), {
    ...json,
    // Settings of one use, which a call may choose anew; transformers writes null.
    padding: null,
    truncation: null,
    added_tokens: [...others, { id: tokenizer.padId, ...pad }],
  });
  const config = await readJson(files, joinPath(source, "tokenizer_config.json")) as Record<string, unknown>;
  await writeJson(files, joinPath(target, "tokenizer_config.json"), {
    ...config,
    added_tokens_decoder: { ...config.added_tokens_decoder as object | undefined, [tokenizer.padId]: pad },
    eos_token: endOfText,
    pad_token: padText,
    padding_side: side,
  });
}
