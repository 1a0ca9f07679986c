"""Ten steps of torch.optim.AdamW and one of clip_grad_norm_, in f64 on fixed inputs -> golden/adamw.json.

Run: python tests/oracles/adamw.py
"""
import json
import pathlib

import torch

torch.manual_seed(20)
torch.set_default_dtype(torch.float64)
N, STEPS = 11, 10
options = dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1)
weights = torch.randn(N).float().double()
gradients = (torch.randn(STEPS, N) * torch.logspace(-4, 1, N)).float().double()

parameter = torch.nn.Parameter(weights.clone())
optimiser = torch.optim.AdamW([parameter], **options)
steps = []
for gradient in gradients:
    parameter.grad = gradient.clone()
    optimiser.step()
    state = optimiser.state[parameter]
    steps.append(dict(weights=parameter.detach().tolist(), firstMoment=state["exp_avg"].tolist(),
                      secondMoment=state["exp_avg_sq"].tolist()))

a, b = torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.zeros(6))
clips = []
for max_norm in (0.5, 1e6):
    a.grad, b.grad = gradients[0, :5].clone(), gradients[0, 5:].clone()
    norm = torch.nn.utils.clip_grad_norm_([a, b], max_norm)
    clips.append(dict(maxNorm=max_norm, norm=norm.item(), clipped=torch.cat([a.grad, b.grad]).tolist()))

golden = dict(torch=torch.__version__, learningRate=options["lr"], beta1=0.9, beta2=0.95, eps=1e-5, weightDecay=0.1,
              weights=weights.tolist(), gradients=gradients.tolist(), steps=steps, clips=clips)
path = pathlib.Path(__file__).parent / "golden" / "adamw.json"
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
