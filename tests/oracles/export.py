"""Loads what export.ts exported with transformers, checks it with onnx, and runs it with onnxruntime.

Run: deno run -A tests/oracles/export.ts FOLDER && python tests/oracles/export.py FOLDER
(pip install torch transformers onnx onnxruntime)
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

root = pathlib.Path(sys.argv[1])
expected = json.loads((root / "expected.json").read_text())
torch.manual_seed(1)


def most(a, b):
    return float(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).max())


def session(folder):
    [path] = (folder / "onnx").glob("*.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(session, ids, mask, cache, keep):
    positions = np.where(mask == 0, 1, mask.cumsum(-1) - 1)[:, -ids.shape[1]:]
    names = [output.name for output in session.get_outputs()]
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions,
             "num_logits_to_keep": np.array(keep, dtype=np.int64), **cache}
    outputs = dict(zip(names, session.run(names, feeds)))
    return outputs.pop("logits"), {name.replace("present", "past_key_values"): value for name, value in outputs.items()}


def empty(session, batch):
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    return {one.name: np.zeros((batch, one.shape[1], 0, one.shape[3]), types[one.type])
            for one in session.get_inputs() if one.name.startswith("past_key_values")}


for name in ("tied", "untied"):
    source = AutoModelForCausalLM.from_pretrained(root / "source" / name, dtype=torch.float32).eval()
    model, report = AutoModelForCausalLM.from_pretrained(root / name / "huggingface-f32", output_loading_info=True)
    assert not any(report.values()), report
    tokenizer = AutoTokenizer.from_pretrained(root / name / "huggingface-f32")
    assert (tokenizer.pad_token, tokenizer.pad_token_id, tokenizer.padding_side) == ("<|pad|>", 767, "left"), tokenizer
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == 766
    assert model.generation_config.pad_token_id == 767
    batch = tokenizer(expected["queries"], padding=True, return_tensors="pt")
    assert batch.input_ids.max() == 767
    real = batch.attention_mask.bool()
    with torch.no_grad():
        ours, theirs = model.eval()(**batch).logits, source(**batch).logits
        assert torch.equal(ours, theirs)
        positions = batch.attention_mask.cumsum(-1) - 1
        wanted = source(**batch, position_ids=positions.masked_fill(~real, 1)).logits.numpy()
        half = AutoModelForCausalLM.from_pretrained(root / name / "huggingface-bf16", dtype="auto")
        assert half.dtype == torch.bfloat16
        rounded = half(**batch).logits.float()
    print(name, "transformers: f32 bit for bit; bf16 off by", most(rounded[real], theirs[real]))

    if name == "tied":
        written = model.generate(**batch, max_new_tokens=32)[:, batch.input_ids.shape[1]:]
        for row, greedy in zip(written.tolist(), expected["greedy"]):
            assert row[:len(greedy)] == greedy and all(id == 767 for id in row[len(greedy):]), (row, greedy)
        print("  transformers writes what we write, greedily:", len(expected["greedy"]), "summaries")

    ids, mask = batch.input_ids.numpy(), batch.attention_mask.numpy()
    for dtype, tolerance in (("f32", 1e-3), ("f16", 0.1)):
        graph = session(root / name / f"onnx-{dtype}")
        whole, _ = run(graph, ids, mask, empty(graph, len(ids)), 0)
        off = most(whole[real], wanted[real])
        cut, cache, steps = ids.shape[1] - 8, empty(graph, len(ids)), []
        for start, end in [(0, cut)] + [(t, t + 1) for t in range(cut, ids.shape[1])]:
            logits, cache = run(graph, ids[:, start:end], mask[:, :end], cache, 1)
            steps.append(logits)
        cached = most(np.concatenate(steps, 1), wanted[:, cut - 1:])
        print(f"  onnxruntime {dtype}: off by {off:.2g} whole, {cached:.2g} over the cache")
        assert off < tolerance and cached < tolerance

model, report = AutoModelForSequenceClassification.from_pretrained(root / "reward" / "huggingface-f32", output_loading_info=True)
assert list(report["unexpected_keys"]) == ["score.bias"] and not report["missing_keys"], report
tokenizer = AutoTokenizer.from_pretrained(root / "reward" / "huggingface-f32")
assert tokenizer.padding_side == "right" and model.config.pad_token_id == 767 and model.config.num_labels == 1
batch = tokenizer(expected["texts"], padding=True, return_tensors="pt")
for row, ids in zip(batch.input_ids.tolist(), expected["ids"]):
    assert row[:len(ids)] == ids and all(id == 767 for id in row[len(ids):])
constant = model.config.precis_score_bias - model.config.precis_score_offset
with torch.no_grad():
    scores = model.eval()(**batch).logits[:, 0] + constant
    half = AutoModelForSequenceClassification.from_pretrained(root / "reward" / "huggingface-bf16", dtype="auto")
    rounded = half(**batch).logits[:, 0].float() + constant
assert half.dtype == torch.bfloat16
print("reward transformers: f32 off by", most(scores, expected["scores"]), "bf16 by", most(rounded, expected["scores"]),
      "of scores from", min(expected["scores"]), "to", max(expected["scores"]))
assert most(scores, expected["scores"]) < 1e-4
for dtype, tolerance in (("f32", 1e-4), ("f16", 0.05)):
    graph = session(root / "reward" / f"onnx-{dtype}")
    feeds = {"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()}
    [logits] = graph.run(["logits"], feeds)
    print(f"  onnxruntime {dtype}: off by", most(logits[:, 0], expected["scores"]))
    assert logits.shape == (6, 1) and most(logits[:, 0], expected["scores"]) < tolerance

for readme in sorted(root.glob("*/*/README.md")):
    card = ModelCard.load(readme)
    assert card.data.license == "apache-2.0" and card.data.base_model == "Qwen/Qwen2.5-0.5B" and "precis" in card.data.tags, readme
    assert card.data.pipeline_tag in ("text-generation", "text-classification")
print("model cards: front matter read by huggingface_hub")
