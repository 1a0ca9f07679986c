"""Reads with transformers what qwen2_export.ts wrote with ours: same logits and scores as the golden models, nothing missing or extra.

Run: deno run -A tests/oracles/qwen2_export.ts FOLDER && python tests/oracles/qwen2_export.py FOLDER
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

golden = pathlib.Path(__file__).parent / "golden"
written = pathlib.Path(sys.argv[1])
for name, auto in (("qwen2_tied", AutoModelForCausalLM), ("qwen2_untied", AutoModelForCausalLM),
                   ("qwen2_reward", AutoModelForSequenceClassification), ("qwen2_critic", AutoModelForSequenceClassification)):
    theirs = auto.from_pretrained(golden / name, dtype=torch.float32).eval()
    ours, report = auto.from_pretrained(written / name, dtype=torch.float32, output_loading_info=True)
    print(name, "files", sorted(p.name for p in (written / name).iterdir()), {k: list(v) for k, v in report.items() if v})
    ids = torch.randint(6, theirs.config.vocab_size, (3, 30))
    with torch.no_grad():
        a, b = theirs(input_ids=ids).logits, ours.eval()(input_ids=ids).logits
    assert torch.equal(a, b), (name, (a - b).abs().max())
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), (name, key)
    a, b = (json.loads((folder / name / "config.json").read_text()) for folder in (golden, written))
    print("  config fields that differ:", {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)})
    print("  same logits, bit for bit:", tuple(ours(input_ids=ids).logits.shape))
