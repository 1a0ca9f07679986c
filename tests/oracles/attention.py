"""Attention as PyTorch computes it, in f64: scaled_dot_product_attention over a batch packed by a block-diagonal causal mask.

    python tests/oracles/attention.py > tests/oracles/golden/attention.json

Inputs are rounded to multiples of 1/64, so that f32 holds them exactly. Needs torch.
"""

import json

import torch

torch.manual_seed(20)


def golden(lengths, query_heads, key_value_heads, head_dim):
    tokens, width = sum(lengths), (query_heads + 2 * key_value_heads) * head_dim
    qkv = ((torch.randn(tokens, width, dtype=torch.float64) * 64).round() / 64).requires_grad_()
    dy = (torch.randn(tokens, query_heads * head_dim, dtype=torch.float64) * 64).round() / 64
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = (sequence[:, None] == sequence[None, :]) & torch.ones(tokens, tokens, dtype=torch.bool).tril()

    heads = qkv.view(tokens, -1, head_dim).transpose(0, 1)
    q, k, v = heads.split([query_heads, key_value_heads, key_value_heads])
    shared = query_heads // key_value_heads
    k, v = k.repeat_interleave(shared, 0), v.repeat_interleave(shared, 0)
    o = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
    o = o.transpose(0, 1).reshape(tokens, -1)
    scores = (q @ k.transpose(1, 2) / head_dim**0.5).masked_fill(~mask, -torch.inf)
    lse = torch.logsumexp(scores, -1).transpose(0, 1)
    o.backward(dy)

    def numbers(tensor):
        return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]

    return {
        "lengths": lengths,
        "queryHeads": query_heads,
        "keyValueHeads": key_value_heads,
        "headDim": head_dim,
        "qkv": numbers(qkv),
        "dy": numbers(dy),
        "o": numbers(o),
        "lse": numbers(lse),
        "dqkv": numbers(qkv.grad),
    }


print(json.dumps([golden([1, 5, 11], 4, 2, 8), golden([2, 19], 3, 1, 16)]))
