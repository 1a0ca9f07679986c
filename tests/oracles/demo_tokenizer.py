"""Token ids of demo texts by Hugging Face `tokenizers` (0.23), for tests/headless/demo_data_test.ts.

    python tests/oracles/demo_tokenizer.py        # needs: pip install tokenizers

Reads public/demo/, writes tests/oracles/golden/demo_tokenizer.json. Run it again whenever the demo data changes.
The texts are the 180 first test posts with their summaries and 20 texts that no post resembles.
"""

import gzip
import json
from pathlib import Path

from tokenizers import Tokenizer, __version__

root = Path(__file__).resolve().parents[2]
demo = root / "public" / "demo"
tokenizer = Tokenizer.from_file(str(demo / "tokenizer.json"))

lines = gzip.open(demo / "posts-test.jsonl.gz", "rt", encoding="utf-8").read().splitlines()
texts = []
for post in map(json.loads, lines[:180]):
    query = f"SUBREDDIT: r/{post['subreddit']}\n\nTITLE: {post['title']}\n\nPOST: {post['post']}\n\nTL;DR:"
    texts.append(f"{query} {post['summary']}<|endoftext|>")

texts += [
    "",
    " ",
    "a  b   c",
    "line\nline\r\nline\n\n\n",
    "tabs\tand trailing spaces   ",
    "I'm, you're, she'll, WE'D, it'S",
    "3.14159 and 1,000,000",
    "<|endoftext|>",
    "<|endoftext|><|endoftext|> a <|endoftext|>",
    "<|endoftext|",
    "é is e + accent: e\u0301",
    "中文字符 и кириллица",
    "emoji 🐐 👩‍🚀",
    "\u00a0\u2003wide\u3000spaces",
    "snake_case(camelCase)->[x]{y};",
    "١٢٣ Ⅳ ½ digits",
    "\u0000\u0001\u007f\u00ad",
    "ﬁ ligature, Å vs A\u030a",
    "SHOUTING AT MY ROOMMATE!!!???",
    "TL;DR: my goat ate my homework...",
]
assert len(texts) == 200
cases = [{"text": text, "ids": tokenizer.encode(text).ids} for text in texts]
out = root / "tests" / "oracles" / "golden" / "demo_tokenizer.json"
body = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
out.write_text(f'{{"tokenizers":"{__version__}","cases":[\n{body}\n]}}\n')
print(f"{out}: {len(cases)} texts, {sum(len(case['ids']) for case in cases)} ids")
