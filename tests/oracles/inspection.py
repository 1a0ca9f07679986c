"""What the inspector shows of small Qwen2 models, from transformers in float32: attention probabilities (one head also max-pooled), the logit
lens, likeliest tokens and ranks under two models, how a loss's gradient flows, and how far two checkpoints are apart.

Run: python tests/oracles/inspection.py -> golden/inspection.json, from the folders golden/qwen2_reference and golden/qwen2_policy
that qwen2_ppo.py writes.
"""
import json
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM

golden = pathlib.Path(__file__).parent / "golden"


def load(name):
    return AutoModelForCausalLM.from_pretrained(golden / name, dtype=torch.float32, attn_implementation="eager").eval()


def rounded(x):
    if isinstance(x, torch.Tensor):
        x = x.detach().tolist()
    if isinstance(x, float):
        return float(f"{x:.7g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def ranks(logits, ids):
    """Rank of ids [R, K] in logits [R, V], from 0; equal logits by id."""
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return order.argsort(dim=-1).gather(-1, ids)


def reading(logits, k):
    log_p = logits.log_softmax(-1)
    ids = logits.argsort(dim=-1, descending=True, stable=True)[:, :k]
    return dict(ids=ids, logprob=log_p.gather(-1, ids), entropy=-(log_p.exp() * log_p).sum(-1))


def lens(model, ids, k):
    out = model(input_ids=ids[None], output_hidden_states=True)
    depths = [model.lm_head(model.model.norm(h[0])) for h in out.hidden_states[:-1]]
    depths.append(model.lm_head(out.hidden_states[-1][0]))  # transformers has put the last one through the norm
    assert torch.allclose(depths[-1], out.logits[0], atol=1e-5)
    nxt = ids[1:, None]
    return [
        reading(z, k) | dict(next=z[:-1].log_softmax(-1).gather(-1, nxt)[:, 0], nextRank=ranks(z[:-1], nxt)[:, 0])
        for z in depths
    ]


def across(models, ids, k):
    logits = [m(input_ids=ids[None]).logits[0, :-1] for m in models]
    own = [reading(z, k) for z in logits]
    for m in (0, 1):
        other = logits[1 - m]
        own[m]["rankElsewhere"] = ranks(other, own[m]["ids"])
        own[m]["logprobElsewhere"] = other.log_softmax(-1).gather(-1, own[m]["ids"])
    return own


def pooled(p, edge):
    """Token t is in cell ⌊t·edge / T⌋; the largest of each cell."""
    T = len(p)
    out = torch.zeros(edge, edge)
    for i in range(T):
        for j in range(T):
            y, x = i * edge // T, j * edge // T
            out[y, x] = torch.maximum(out[y, x], p[i, j])
    return out


def flow(model, ids):
    # Of the last layer's output transformers keeps only what the norm makes of it, so a hook holds on to it.
    seen = {}
    hook = model.model.norm.register_forward_pre_hook(lambda _, args: seen.update(last=args[0]))
    out = model(input_ids=ids[None], labels=ids[None], output_hidden_states=True)
    hook.remove()
    stream = [*out.hidden_states[:-1], seen["last"]]
    for h in stream:
        h.retain_grad()
    out.loss.backward()
    return dict(
        loss=out.loss.item(),
        stream=[h.grad.norm().item() for h in stream],
        gradients={name: p.grad.norm().item() for name, p in model.named_parameters()},
        weights={name: p.norm().item() for name, p in model.named_parameters()},
    )


def changes(a, b):
    before, after = dict(a.named_parameters()), dict(b.named_parameters())
    tensors = {
        name: dict(relative=((after[name] - w).norm() / w.norm()).item(), largest=(after[name] - w).abs().max().item())
        for name, w in before.items()
    }
    e, f = before["model.embed_tokens.weight"], after["model.embed_tokens.weight"]
    distance = (f - e).norm(dim=-1)
    rows = distance.argsort(descending=True)[:8]
    return dict(tensors=tensors, rows=rows, distance=distance[rows], cosine=torch.cosine_similarity(e, f, dim=-1)[rows])


if __name__ == "__main__":
    torch.manual_seed(7)
    reference, policy = load("qwen2_reference"), load("qwen2_policy")
    vocabulary = reference.config.vocab_size
    ids, long = torch.randint(0, vocabulary, (12,)), torch.randint(0, vocabulary, (61,))
    with torch.no_grad():
        attentions = torch.stack(reference(input_ids=ids[None], output_attentions=True).attentions)[:, 0]
        last = reference(input_ids=long[None], output_attentions=True).attentions[-1][0, -1]
        content = dict(
            torch=torch.__version__, transformers=transformers.__version__, ids=ids, long=long, k=10,
            attention=attentions, thumbnail=pooled(last, 48), lens=lens(reference, ids, 10),
            across=across([reference, policy], ids, 10), changes=changes(reference, policy),
        )
    content["flow"] = flow(reference, ids)
    (golden / "inspection.json").write_text(json.dumps(rounded(content), separators=(",", ":")) + "\n")
