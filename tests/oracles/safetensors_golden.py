"""Writes tests/oracles/safetensors_golden.safetensors with the reference implementation (safetensors 0.8.0, torch 2.15.0), and with
an argument reads a file of ours and prints its tensors' sums.

    python tests/oracles/safetensors_golden.py            # writes the golden file and safetensors_golden.jsonl
    python tests/oracles/safetensors_golden.py FILE       # reads FILE with the reference implementation
"""
import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).parent
if len(sys.argv) > 1:
    for name, tensor in sorted(load_file(sys.argv[1]).items()):
        print(name, tensor.dtype, list(tensor.shape), tensor.double().nan_to_num(0, 0, 0).sum().item())
    sys.exit()

generator = torch.Generator().manual_seed(7)
normal = torch.randn(7, 5, generator=generator)
# Half-way cases and edges of BF16 and F16, as f32: ties to even both ways, subnormals, the largest, signed zero.
edges = torch.tensor([
    0.0, -0.0, 1.0, 1.00390625, 1.01171875, -1.00390625, 3.3895313892515355e38, 65504.0, 65519.0, 1.00048828125, 1.00146484375,
    5.960464477539063e-08, 2.98023223876953125e-08, 8.940696716308594e-08, 6.103515625e-05, 1e-40, 1.1754943508222875e-38, math.pi,
])
small = edges[edges.abs() < 65520]
codes = torch.arange(256, dtype=torch.uint8)
tensors = {
    "normal": normal,
    "Zeta": normal[0].clone(),
    "Ωmega 😀": normal[:, 1].clone(),
    "\ue000": torch.ones(2),
    'quote " and \\ and \n': torch.ones(1),
    "edges": edges,
    "edges.bf16": edges.to(torch.bfloat16),
    "small": small,
    "small.f16": small.to(torch.float16),
    "normal.f64": normal.double() / 3,
    "counts.i64": torch.tensor([[-(2**62), 2**53 + 1], [0, -1]]),
    "counts.i32": torch.tensor([-(2**31), 2**31 - 1, 5], dtype=torch.int32),
    "counts.i16": torch.tensor([-(2**15), 2**15 - 1, 5], dtype=torch.int16),
    "counts.i8": torch.tensor([-128, 127, 5], dtype=torch.int8),
    "counts.u8": torch.tensor([0, 255, 5], dtype=torch.uint8),
    "truth": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "nothing": torch.zeros(0, 3),
    "codes.e4m3": codes.clone().view(torch.float8_e4m3fn),
    "codes.e5m2": codes.clone().view(torch.float8_e5m2),
    "codes.e8m0": codes.clone().view(torch.float8_e8m0fnu),
    "codes.e4m3fnuz": codes.clone().view(torch.float8_e4m3fnuz),
    "codes.e5m2fnuz": codes.clone().view(torch.float8_e5m2fnuz),
}
save_file(tensors, here / "safetensors_golden.safetensors", {"format": "pt"})
lines = []
for name, tensor in tensors.items():
    flat = tensor.flatten()
    numbers = flat.to(torch.float64).tolist() if tensor.is_floating_point() else [int(n) for n in flat.tolist()]
    # JSON has no NaN or infinities, and JavaScript's has no large integers; text stands for them.
    values = [str(n) if not math.isfinite(n) or (isinstance(n, int) and abs(n) > 2**53) else n for n in numbers]
    lines.append(json.dumps({"name": name, "values": values}, ensure_ascii=False) + "\n")
(here / "safetensors_golden.jsonl").write_text("".join(lines))
