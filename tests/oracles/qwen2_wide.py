"""Qwen2.5-0.5B's width and vocabulary, with as many layers as wanted: one SFT step, one reward step and one PPO update by transformers' Qwen2
and PyTorch's automatic differentiation, in float32 on the CPU. Weights come from a seed (random_checkpoint.py), so that no file is needed;
of gradients and weights ten numbers and the norm are written down for each kind of tensor.

Run: python tests/oracles/qwen2_wide.py --layers 2 -> golden/qwen2_wide.json
     python tests/oracles/qwen2_wide.py --layers 24 --out DIR/golden.json, for PRECIS_FULL_SIZE=DIR (see tests/lab/qwen2_wide_test.ts);
     --ppo-layers N for an update on a model of fewer layers, whose two trained networks need 16 bytes a parameter each on our side.
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model

from random_checkpoint import mix, random_weights

EOS, VOCABULARY = 151643, 151665  # as Qwen2.5's tokenizer has them: <|endoftext|>, and one above the last id that it can give
T, BETA, LAMBDA, CLIP, VALUE_CLIP, VALUE_COEFFICIENT, TAU = 8, 0.05, 0.95, 0.2, 0.2, 0.1, 0.7 + 1e-7
RATE, BETAS, EPS, DECAY = 1e-3, (0.9, 0.999), 1e-5, 0.01
# Ours, as in tests/lab/qwen2_wide_test.ts: query and response lengths.
POSTS, PAIRS, EPISODES = [(16, 8), (11, 6)], [((12, 8), (12, 5)), ((9, 5), (9, 9))], [(14, 5), (10, None)]


def config(layers):
    return Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=layers, num_attention_heads=14, num_key_value_heads=2,
        hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=1e6),
        tie_word_embeddings=True, bos_token_id=EOS, eos_token_id=EOS, use_sliding_window=False, attn_implementation="eager")


def network(kind, layers, seed):
    """`kind` with the generator's weights as a BF16 file keeps them, in float32."""
    with torch.device("meta"):
        model = kind(config(layers))
    model = model.to_empty(device="cpu")
    prefix = "model." if kind is Qwen2Model else ""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.from_numpy(random_weights(seed, prefix + name, tuple(parameter.shape)))
            parameter.copy_(drawn.bfloat16().float())
    model.tie_weights()
    fresh = (model if kind is Qwen2Model else model.model).rotary_emb.__class__(config(layers))
    (model if kind is Qwen2Model else model.model).rotary_emb = fresh
    return model.float()


def score_head(seed):
    """N(0, 1/√(D + 1)), drawn as weights are."""
    return torch.from_numpy(random_weights(seed, "score.weight", (1, 896), 1 / np.sqrt(897)))[0].clone().requires_grad_()


def text(number, length):
    """Ids of ordinary tokens, different for each number."""
    bits = mix(np.arange(length, dtype=np.uint32) + np.uint32(1000 * number + 7))
    return torch.from_numpy((bits % 151000).astype(np.int64))


def log_probabilities(model, ids, temperature=1.0, vocabulary=None):
    """Of each token but the first, given those before it."""
    logits = model(input_ids=ids[None]).logits[0, :-1, :vocabulary] / temperature
    return logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0]


def hidden(body, ids):
    return body(input_ids=ids[None]).last_hidden_state[0]


def sampled(named, layers, what):
    """Of each kind of tensor one, in a layer that the kind decides: norm, and ten elements spread over it."""
    kinds = {}
    for name, parameter in named:
        kinds.setdefault(".".join("#" if part.isdigit() else part for part in name.split(".")), []).append((name, parameter))
    rows = []
    for n, (kind, members) in enumerate(sorted(kinds.items())):
        name, parameter = members[(5 * n + 1) % len(members)]
        tensor = (parameter.grad if what == "gradient" else parameter).detach().reshape(-1)
        size = tensor.numel()
        at = [int(b) % size for b in mix(np.arange(10, dtype=np.uint32) + np.uint32(77 * n))]
        if "embed" in name:  # Rows of tokens that occur, beside rows that only the head knows.
            at[:5] = [int(text(1, 5)[i]) * 896 + 100 * i for i in range(5)]
        rows.append(dict(name=name if name.startswith(("model.", "score.")) else "model." + name, norm=tensor.double().norm().item(),
                         indices=at, values=tensor[at].tolist()))
    return rows


def grad_norm(parameters):
    return torch.sqrt(sum(p.grad.double().pow(2).sum() for p in parameters)).item()


def sft(layers, seed):
    policy = network(Qwen2ForCausalLM, layers, seed)
    texts = [torch.cat([text(2 * n + 1, q), text(2 * n + 2, r - 1), torch.tensor([EOS])]) for n, (q, r) in enumerate(POSTS)]
    log_p = [log_probabilities(policy, ids) for ids in texts]
    loss = -torch.stack([row.mean() for row in log_p]).mean()
    loss.backward()
    result = dict(texts=[t.tolist() for t in texts], queries=[q for q, _ in POSTS], logprob=[row.tolist() for row in log_p], loss=loss.item(),
                  gradNorm=grad_norm(policy.parameters()), gradients=sampled(policy.named_parameters(), layers, "gradient"))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=BETAS, eps=EPS, weight_decay=DECAY, foreach=False)
    optimizer.step()
    del optimizer
    with torch.no_grad():
        result["lossAfter"] = -torch.stack([log_probabilities(policy, ids).mean() for ids in texts]).mean().item()
    return result | dict(weights=sampled(policy.named_parameters(), layers, "weight"), learningRate=RATE, eps=EPS, weightDecay=DECAY)


def reward(layers, seed):
    body, head = network(Qwen2Model, layers, seed), score_head(seed)
    pairs = []
    for n, sides in enumerate(PAIRS):
        query = text(20 + n, sides[0][0])
        pairs.append([torch.cat([query, text(30 + 2 * n + m, r - 1), torch.tensor([EOS])]) for m, (_, r) in enumerate(sides)])
    scores = torch.stack([torch.stack([hidden(body, ids)[-1] @ head for ids in pair]) for pair in pairs])
    margins = scores[:, 0] - scores[:, 1]
    loss = -F.logsigmoid(margins).mean()
    loss.backward()
    named = list(body.named_parameters()) + [("score.weight", head)]
    return dict(pairs=[[ids.tolist() for ids in pair] for pair in pairs], queries=[sides[0][0] for sides in PAIRS], scores=scores.tolist(),
                loss=loss.item(), accuracy=(margins > 0).float().mean().item(), margin=margins.mean().item(),
                gradNorm=grad_norm(p for _, p in named), gradients=sampled(named, layers, "gradient"))


def ppo(layers, seed):
    policy, body, head = network(Qwen2ForCausalLM, layers, seed), network(Qwen2Model, layers, seed + 1), score_head(seed + 1)
    queries = [text(50 + n, q) for n, (q, _) in enumerate(EPISODES)]
    responses = [text(60 + n, T) for n in range(len(EPISODES))]
    for response, (_, end) in zip(responses, EPISODES):
        if end is not None:
            response[end] = EOS
    last = [T - 1 if end is None else end for _, end in EPISODES]

    def of_policy(n):
        ids = torch.cat([queries[n], responses[n][: last[n] + 1]])
        return log_probabilities(policy, ids, TAU, VOCABULARY)[len(queries[n]) - 1:]

    def of_critic(n):
        ids = torch.cat([queries[n], responses[n][: last[n] + 1]])
        states = hidden(body, ids)
        return (states @ head)[len(queries[n]) - 1: len(queries[n]) - 1 + min(last[n] + 2, T)], states[-1] @ head

    # The first update: the reference is the policy and the reward model the critic, each before its first step. Episode by episode,
    # gradients come from logprobs and values whose losses' slopes are known once the whole batch has been scored.
    with torch.no_grad():
        old = [of_policy(n) for n in range(len(queries))]
        values, scores = zip(*(of_critic(n) for n in range(len(queries))))
    scored = [s if end is not None else torch.tensor(-1.0) for s, (_, end) in zip(scores, EPISODES)]
    advantages, returns = [], []
    for n, value in enumerate(values):
        r = torch.zeros(len(value))
        r[min(last[n] + 1, T - 1)] += scored[n]
        carry, rows = torch.tensor(0.0), []
        for t in reversed(range(len(value))):
            following = value[t + 1] if t + 1 < len(value) else 0.0
            carry = r[t] + following - value[t] + LAMBDA * carry
            rows.insert(0, carry)
        advantages.append(torch.stack(rows))
        returns.append(advantages[-1] + value)
    live = torch.cat([a[: L + 1] for a, L in zip(advantages, last)])
    whitened = [(a[: L + 1] - live.mean()) / torch.sqrt(live.var(correction=0) + 1e-8) for a, L in zip(advantages, last)]

    policy_tokens, value_tokens = sum(L + 1 for L in last), sum(map(len, values))
    policy_loss = value_loss = 0.0
    for n in range(len(queries)):
        ratio = torch.exp(of_policy(n) - old[n])
        clipped = torch.clamp(ratio, 1 - CLIP, 1 + CLIP)
        part = torch.max(-whitened[n] * ratio, -whitened[n] * clipped).sum() / policy_tokens
        part.backward()
        policy_loss += part.item()
        value = of_critic(n)[0]
        bounded = torch.clamp(value, values[n] - VALUE_CLIP, values[n] + VALUE_CLIP)
        part = 0.5 * torch.max((value - returns[n]) ** 2, (bounded - returns[n]) ** 2).sum() / value_tokens
        (VALUE_COEFFICIENT * part).backward()
        value_loss += part.item()
    named = list(body.named_parameters()) + [("score.weight", head)]
    return dict(layers=layers, queries=[q.tolist() for q in queries], responses=[r.tolist() for r in responses], eos=EOS, vocabulary=VOCABULARY,
                logprob=[row.tolist() for row in old], values=[row.tolist() for row in values], scores=[s.item() for s in scores],
                whitened=[row.tolist() for row in whitened], returns=[row.tolist() for row in returns],
                policyLoss=policy_loss, valueLoss=value_loss,
                gradNorm=grad_norm(list(policy.parameters()) + [p for _, p in named]),
                policyGradients=sampled(policy.named_parameters(), layers, "gradient"),
                criticGradients=sampled(named, layers, "gradient"))


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.8g}")
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    return [rounded(value) for value in x] if isinstance(x, list) else x


if __name__ == "__main__":
    flags = argparse.ArgumentParser()
    flags.add_argument("--layers", type=int, default=2)
    flags.add_argument("--ppo-layers", type=int)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--out", default=pathlib.Path(__file__).parent / "golden" / "qwen2_wide.json")
    given = flags.parse_args()
    result = dict(torch=torch.__version__, layers=given.layers, seed=given.seed)
    for name, stage in (("sft", sft), ("reward", reward), ("ppo", ppo)):
        result[name] = rounded(stage(given.ppo_layers or given.layers if name == "ppo" else given.layers, given.seed))
        print(name, "done", flush=True)
    pathlib.Path(given.out).write_text(json.dumps(result, separators=(",", ":")) + "\n")
