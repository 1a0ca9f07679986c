"""Makes golden/logprob.json: log-softmax, gather, entropy and their gradients in f64 by PyTorch.

    python3 tests/oracles/logprob.py
"""

import json
import pathlib

import torch

R, V, D, live, temperature = 4, 23, 6, 19, 0.7
generator = torch.Generator().manual_seed(11)


def normal(*shape):
    """Numbers of 4 decimals, so that the file is short and f32 and f64 agree on the inputs."""
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 1e4).round() / 1e4


hidden = normal(R, D).requires_grad_()
head = normal(V, D).requires_grad_()
targets = torch.tensor([0, 18, 7, 7])
dlogprob, dentropy, weights = normal(R), normal(R), normal(R).abs()

logp = torch.log_softmax(hidden @ head[:live].T / temperature, dim=-1)
logprob = logp.gather(1, targets[:, None])[:, 0]
entropy = -(logp.exp() * logp).sum(-1)
((logprob * dlogprob).sum() + (entropy * dentropy).sum()).backward()
both = {"dhidden": hidden.grad.flatten().tolist(), "dhead": head.grad.flatten().tolist()}

hidden.grad = head.grad = None
logits = hidden @ head[:live].T / temperature
loss = (torch.nn.functional.cross_entropy(logits, targets, reduction="none") * weights).sum()
loss.backward()
cross = {
    "loss": loss.item(),
    "dhidden": hidden.grad.flatten().tolist(),
    "dhead": head.grad.flatten().tolist(),
}

golden = {
    "torch": torch.__version__,
    "R": R, "V": V, "D": D, "vocabulary": live, "temperature": temperature,
    "hidden": hidden.flatten().tolist(),
    "head": head.flatten().tolist(),
    "targets": targets.tolist(),
    "dlogprob": dlogprob.tolist(),
    "dentropy": dentropy.tolist(),
    "weights": weights.tolist(),
    "logprob": logprob.tolist(),
    "logSumExp": torch.logsumexp(logits, -1).tolist(),
    "entropy": entropy.tolist(),
    **both,
    "crossEntropy": cross,
}
path = pathlib.Path(__file__).parent / "golden" / "logprob.json"
path.write_text(json.dumps(golden) + "\n")
print(path)
