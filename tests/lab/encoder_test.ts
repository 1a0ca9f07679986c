import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Tokenizer } from "@huggingface/tokenizers";
import { encoderOf } from "../../lab/encoder.ts";
import { random } from "../../lab/demo/random.ts";
import { judgedPosts, qwenJson, sharedText } from "./qwen.ts";

const qwen = await qwenJson();
const posts = await judgedPosts();
const vectors = await sharedText("tokenizer/qwen2_vectors_llamacpp.json");
const demo = JSON.parse(
  await Deno.readTextFile(new URL("../../public/demo/tokenizer.json", import.meta.url)),
);

/** The library as it comes, and our encoder over it; two instances, so that neither profits from the other's memory. */
function both(json: object, config: Record<string, unknown> = {}) {
  const library = new Tokenizer(json, config);
  return {
    theirs: (text: string) => text === "" ? [] : library.encode(text, { add_special_tokens: false }).ids,
    ours: encoderOf(new Tokenizer(json, config), json, config),
  };
}

/** Texts of awkward pieces, among them what splitters and normalisers treat specially. */
function hostileTexts(count: number): string[] {
  const draw = random(23);
  const below = (limit: number) => draw.below(limit);
  const pieces =
    (" |  |\n|\r\n|\n\n|\t|\u00a0|\u3000|\u200d|word|Words|'s|'S|’s|don't|12|2026|٣|½|²|é|e\u0301|\u0301|ﬁ|Å|" +
      "\u212b|K|;|\u037e|🦙|👩‍👧|🏳️‍🌈|日本語|שלום|한국|한국|\u0000|\ufeff|\ufffd|<|endoftext|>|im_start|" +
      ".|...|!?|--|_|#|@user|http://a.b/c?d=e|supercalifragilisticexpialidocious").split("|")
      .concat(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext",
        "<|endoftext|><|endoftext|>",
        "|",
      );
  return Array.from({ length: count }, () => {
    let text = "";
    for (let n = below(24); n >= 0; n--) {
      text += below(12) === 0
        ? String.fromCodePoint(below(2) ? below(0xd800) : 0xe000 + below(0x10ffff - 0xe000))
        : pieces[below(pieces.length)];
    }
    return text;
  });
}

Deno.test({
  name:
    "Qwen2.5: id for id the library's, on the 46 vectors and on hostile Unicode, met for the first time or again",
  ignore: qwen === null,
  fn() {
    const { theirs, ours } = both(qwen!);
    const texts = hostileTexts(1500);
    if (vectors) texts.push(...JSON.parse(vectors).cases.map(({ text }: { text: string }) => text));
    for (const text of [...texts, ...texts]) assertEquals(ours(text), theirs(text), JSON.stringify(text));
  },
});

Deno.test({
  name: "Qwen2.5: id for id the library's on a thousand real posts and their summaries",
  ignore: qwen === null || posts === null,
  fn() {
    const { theirs, ours } = both(qwen!);
    for (const { row, query, reference } of posts!) {
      const text = `${query} ${reference}<|endoftext|>`;
      assertEquals(ours(text), theirs(text), `row ${row}`);
    }
  },
});

Deno.test("the demo's tokenizer: id for id the library's, however many pieces are met and forgotten", () => {
  const { theirs, ours } = both(demo);
  for (const text of hostileTexts(3000)) assertEquals(ours(text), theirs(text), JSON.stringify(text));
  const before = ours("a cat that was here before");
  let seen = 0;
  for (let i = 0; i < 120_000; i += 100) {
    const text = Array.from({ length: 100 }, (_, j) => `w${(i + j).toString(36)}x`).join(" ");
    seen += ours(text).length;
  }
  assert(seen > 120_000);
  assertEquals(ours("a cat that was here before"), before);
  assertEquals(ours("w1x w2x"), theirs("w1x w2x"));
});

Deno.test("what a remembered piece is given to cannot change it", () => {
  const { ours } = both(demo);
  const first = ours("the cat");
  first.fill(0);
  assertEquals(ours("the cat"), both(demo).theirs("the cat"));
});

Deno.test("tokenizers of another form are left to the library", () => {
  const added = demo.added_tokens[0];
  const forms: [string, object, Record<string, unknown>?][] = [
    ["a byte-level splitter alone", {
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    }],
    ["a space before the text", {
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          demo.pre_tokenizer.pretokenizers[0],
          { type: "ByteLevel", add_prefix_space: true, use_regex: false },
        ],
      },
    }],
    ["another normaliser", { normalizer: { type: "NFKC" } }],
    ["no normaliser", { normalizer: null }],
    ["lower case", {
      normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Lowercase" }] },
    }],
    ["an added token that takes the space before it", {
      added_tokens: [added, { ...added, id: 900, content: "<|x|>", lstrip: true }],
    }],
    ["an added token that is normalised", {
      added_tokens: [added, { ...added, id: 900, content: "e\u0301<", normalized: true, special: false }],
    }],
    ["added tokens that begin alike", {
      added_tokens: [added, { ...added, id: 900, content: "<|end" }, { ...added, id: 901, content: "<|" }],
    }],
    ["spaces squeezed", {}, { remove_space: true }],
  ];
  for (const [name, change, config] of forms) {
    const { theirs, ours } = both({ ...demo, ...change }, config);
    for (const text of [...hostileTexts(200), "a  <|x|> B é< e\u0301< <|end <|endoftext|> <|"]) {
      assertEquals(ours(text), theirs(text), `${name}: ${JSON.stringify(text)}`);
    }
  }
});
