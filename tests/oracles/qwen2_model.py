"""Small random Qwen2 models in float64: logits, losses, every gradient and ten AdamW steps, from PyTorch's automatic differentiation.

The forward pass is written out here because transformers computes norms, rotary angles and softmax in float32 whatever the model's
dtype; each model is checked against transformers' own Qwen2 on the same weights, sequence by sequence and as a padded batch.

Run: python tests/oracles/qwen2_model.py -> golden/qwen2_tied/ (BF16, one file), golden/qwen2_untied/ (F16, shards written by
transformers), and beside each the safetensors file and the JSON of what it gives.
"""
import json
import pathlib
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

torch.set_default_dtype(torch.float64)
golden = pathlib.Path(__file__).parent / "golden"


def config(**sizes):
    return Qwen2Config(
        **dict(
            hidden_act="silu", max_position_embeddings=256, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=3, pad_token_id=5,
            rope_parameters=dict(rope_type="default", rope_theta=1e6), use_sliding_window=False,
        ) | sizes)


def random_weights(cfg, seed, dtype, head=True):
    """By Hugging Face name, in float64 but exactly representable in `dtype`; biases and norms far from 0 and 1."""
    torch.manual_seed(seed)
    D, hd = cfg.hidden_size, cfg.head_dim
    q, kv = cfg.num_attention_heads * hd, cfg.num_key_value_heads * hd
    w = {}

    def draw(name, *shape, scale=None, around=0.0):
        scale = shape[-1] ** -0.5 if scale is None else scale
        w[name] = (around + scale * torch.randn(*shape)).to(dtype).double()

    draw("model.embed_tokens.weight", cfg.vocab_size, D, scale=2 * D ** -0.5)
    for n in range(cfg.num_hidden_layers):
        at = f"model.layers.{n}"
        draw(f"{at}.input_layernorm.weight", D, scale=0.3, around=1.0)
        draw(f"{at}.post_attention_layernorm.weight", D, scale=0.3, around=1.0)
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            draw(f"{at}.self_attn.{part}_proj.weight", rows, D)
            draw(f"{at}.self_attn.{part}_proj.bias", rows, scale=0.5)
        draw(f"{at}.self_attn.o_proj.weight", D, q)
        draw(f"{at}.mlp.gate_proj.weight", cfg.intermediate_size, D)
        draw(f"{at}.mlp.up_proj.weight", cfg.intermediate_size, D)
        draw(f"{at}.mlp.down_proj.weight", D, cfg.intermediate_size)
    draw("model.norm.weight", D, scale=0.3, around=1.0)
    if head and not cfg.tie_word_embeddings:
        draw("lm_head.weight", cfg.vocab_size, D)
    return w


def norm(x, weight, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def hidden_states(w, cfg, ids):
    """After the final norm: [T, D] of one sequence, whose first token has position 0."""
    T, hd = len(ids), cfg.head_dim
    Hq, Hkv = cfg.num_attention_heads, cfg.num_key_value_heads
    angles = torch.arange(T)[:, None] * cfg.rope_parameters["rope_theta"] ** (-torch.arange(0, hd, 2) / hd)
    cos, sin = torch.cos(angles)[:, None], torch.sin(angles)[:, None]

    def rotate(x):  # [T, heads, hd]: dimension i goes with i + hd/2
        a, b = x[..., : hd // 2], x[..., hd // 2:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    causal = torch.ones(T, T, dtype=torch.bool).tril()
    x = w["model.embed_tokens.weight"][ids]
    for n in range(cfg.num_hidden_layers):
        at = f"model.layers.{n}"
        h = norm(x, w[f"{at}.input_layernorm.weight"], cfg.rms_norm_eps)
        q, k, v = (F.linear(h, w[f"{at}.self_attn.{p}_proj.weight"], w[f"{at}.self_attn.{p}_proj.bias"]).view(T, -1, hd) for p in "qkv")
        q, k = rotate(q), rotate(k)
        k, v = (y.repeat_interleave(Hq // Hkv, dim=1) for y in (k, v))
        scores = torch.einsum("ihd,jhd->hij", q, k) / hd ** 0.5
        p = scores.masked_fill(~causal, -torch.inf).softmax(-1)
        x = x + torch.einsum("hij,jhd->ihd", p, v).reshape(T, -1) @ w[f"{at}.self_attn.o_proj.weight"].T
        h = norm(x, w[f"{at}.post_attention_layernorm.weight"], cfg.rms_norm_eps)
        gate, up = h @ w[f"{at}.mlp.gate_proj.weight"].T, h @ w[f"{at}.mlp.up_proj.weight"].T
        x = x + (F.silu(gate) * up) @ w[f"{at}.mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"], cfg.rms_norm_eps)


def head_of(w):
    return w.get("lm_head.weight", w["model.embed_tokens.weight"])


def logits_of(w, cfg, ids):
    return hidden_states(w, cfg, ids) @ head_of(w).T


def next_token_loss(w, cfg, sequences):
    """Mean cross-entropy over every token that has one before it: with equal weight, whatever sequence it is in."""
    losses = [F.cross_entropy(logits_of(w, cfg, s)[:-1], s[1:], reduction="sum") for s in sequences if len(s) > 1]
    return sum(losses) / sum(len(s) - 1 for s in sequences)


def parameters(w):
    return {name: value.clone().requires_grad_() for name, value in w.items()}


def adamw(*sets, lr):
    return torch.optim.AdamW([p for w in sets for p in w.values()], lr=lr, betas=(0.9, 0.999), eps=1e-5, weight_decay=0.01)


def gradients(w):
    return {name: p.grad.clone() for name, p in w.items()}


def total_norm(grads):
    return sum((g ** 2).sum() for g in grads.values()).sqrt().item()


def save(name, **groups):
    """Tensors as f32 in golden/<name>.safetensors, named group/tensor."""
    flat = {f"{group}/{key}": value.detach().float().contiguous() for group, tensors in groups.items() for key, value in tensors.items()}
    save_file(flat, golden / f"{name}.safetensors", metadata={"format": "pt"})


def write_json(name, content):
    (golden / f"{name}.json").write_text(json.dumps(rounded(dict(torch=torch.__version__) | content), separators=(",", ":")) + "\n")


def rounded(x):
    if isinstance(x, torch.Tensor):
        x = x.detach().tolist()
    if isinstance(x, float):
        return float(f"{x:.12g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def write_folder(name, model, w, dtype, max_shard_size="5GB"):
    """Writes the weights through transformers, as published models are, and reads them back in float32."""
    shutil.rmtree(golden / name, ignore_errors=True)
    auto = type(model)
    model = model.to(dtype)
    state = {key: value.to(dtype) for key, value in w.items()}
    missing, unknown = model.load_state_dict(state, strict=False)
    assert not unknown and set(missing) <= {"lm_head.weight"}, (missing, unknown)
    model.tie_weights()
    model.save_pretrained(golden / name, max_shard_size=max_shard_size)
    (golden / name / "generation_config.json").unlink(missing_ok=True)
    return auto.from_pretrained(golden / name, dtype=torch.float32).eval()


def check_against_transformers(model, w, cfg, sequences):
    """Alone and right-padded in one batch; `model` is transformers' in float32."""
    longest = max(map(len, sequences))
    ids = torch.stack([F.pad(s, (0, longest - len(s)), value=cfg.pad_token_id) for s in sequences])
    mask = torch.stack([torch.arange(longest) < len(s) for s in sequences]).long()
    with torch.no_grad():
        padded = model(input_ids=ids, attention_mask=mask).logits
        for n, s in enumerate(sequences):
            ours = logits_of(w, cfg, s)
            for theirs in (model(input_ids=s[None]).logits[0], padded[n, : len(s)]):
                error = (theirs - ours).abs().max() / ours.abs().max()
                assert error < 2e-5, f"transformers differs by {error:.1e} on sequence {n}"
        labels = ids.masked_fill(mask == 0, -100)
        theirs = model(input_ids=ids, attention_mask=mask, labels=labels).loss.item()
        ours = next_token_loss(w, cfg, sequences).item()
        assert abs(theirs - ours) < 1e-5 * ours, (theirs, ours)


def language_model(name, cfg, seed, dtype, max_shard_size="5GB"):
    start = random_weights(cfg, seed, dtype)
    model = write_folder(name, Qwen2ForCausalLM(cfg), start, dtype, max_shard_size)
    torch.manual_seed(seed + 1)
    lengths = [1, 5, 17, 40]
    sequences = [torch.randint(0, cfg.vocab_size, (n,)) for n in lengths]
    check_against_transformers(model, start, cfg, sequences)

    w = parameters(start)
    optimizer, losses, norms, first = adamw(w, lr=1e-3), [], [], None
    for step in range(10):
        optimizer.zero_grad()
        loss = next_token_loss(w, cfg, sequences)
        loss.backward()
        first = first or gradients(w)
        losses.append(loss.item())
        norms.append(total_norm(gradients(w)))
        optimizer.step()
    losses.append(next_token_loss(w, cfg, sequences).item())

    # Rows of the packed batch: all sequences laid end to end.
    packed = torch.cat(sequences)
    hidden = torch.cat([hidden_states(start, cfg, s) for s in sequences])
    logits = hidden @ head_of(start).T
    rows = [0, 1, 5, 6, 22, 23, 40, 62]
    # The last tokens of the third sequence and of the fourth as responses: row p scores token p + 1.
    response_rows = list(range(16, 22)) + list(range(49, 62))
    log_p = (logits[response_rows] / 0.7).log_softmax(-1)
    targets = packed[[r + 1 for r in response_rows]]
    save(name, gradient=first, after10={k: v for k, v in w.items()}, of=dict(logits=logits[rows], hidden=hidden))
    write_json(name, dict(
        lengths=lengths, tokens=packed, logitRows=rows, losses=losses, gradNorms=norms, learningRate=1e-3, eps=1e-5,
        weightDecay=0.01, logSumExp=logits.logsumexp(-1),
        response=dict(temperature=0.7, rows=response_rows, targets=targets,
                      logprob=log_p[torch.arange(len(targets)), targets], entropy=-(log_p.exp() * log_p).sum(-1))))


if __name__ == "__main__":
    # Grouped as in Qwen2.5-0.5B, seven query heads to a key head.
    language_model("qwen2_tied", config(
        vocab_size=517, hidden_size=56, intermediate_size=100, num_hidden_layers=2, num_attention_heads=14, num_key_value_heads=2,
        head_dim=8, tie_word_embeddings=True), 1, torch.bfloat16)
    # Rows that no vector width divides, heads wider together than the rows, another base and eps.
    language_model("qwen2_untied", config(
        vocab_size=131, hidden_size=38, intermediate_size=50, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1,
        head_dim=24, tie_word_embeddings=False, rms_norm_eps=1e-3, rope_parameters=dict(rope_type="default", rope_theta=1e4)),
        2, torch.float16, "30KB")
