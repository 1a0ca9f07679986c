"""PyTorch in f64 for the RLHF kernels: pairwise loss; reward assembly, GAE, whitening, PPO losses and their gradients.

B = 8 rows, T = 13, EOS first, last, absent and in between. Written from the formulas of arXiv 2403.17031 and the order of operations of
its released ppo.py. Run: python tests/oracles/ppo_losses.py -> golden/ppo_losses.json
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def f32(x):
    return x.float().double()


def pairwise():
    chosen = f32(2 * torch.randn(9)).requires_grad_()
    rejected = f32(2 * torch.randn(9)).requires_grad_()
    margin = f32(torch.rand(9))
    loss = -F.logsigmoid(chosen - rejected - margin).mean()
    loss.backward()
    return dict(chosen=chosen.tolist(), rejected=rejected.tolist(), margin=margin.tolist(), loss=loss.item(),
                accuracy=(chosen > rejected).double().mean().item(), dchosen=chosen.grad.tolist(),
                drejected=rejected.grad.tolist())


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def whiten(x, mask, shift_mean, unbiased=False):
    mean = masked_mean(x, mask)
    var = masked_mean((x - mean) ** 2, mask)
    if unbiased:
        var = var * mask.sum() / (mask.sum() - 1)
    out = (x - mean) * torch.rsqrt(var + 1e-8)
    return (out if shift_mean else out + mean) * mask


def gae(rewards, values, gamma, lam):
    T = rewards.shape[1]
    last, reverse = 0.0, []
    for t in reversed(range(T)):
        following = values[:, t + 1] if t < T - 1 else 0.0
        delta = rewards[:, t] + gamma * following - values[:, t]
        last = delta + gamma * lam * last
        reverse.append(last)
    advantages = torch.stack(reverse[::-1], dim=1)
    return advantages, advantages + values


def ppo():
    B, T, eos, beta = 8, 13, 5, 0.05
    at = [0, 12, None, 3, 7, 11, None, 1]
    tokens = torch.randint(6, 20, (B, T))
    for row, e in enumerate(at):
        if e is not None:
            tokens[row, e] = eos
            if e + 2 < T:
                tokens[row, e + 2] = eos  # a second EOS must not count
    old = f32(-2 * torch.rand(B, T))
    ref = f32(old + 0.5 * torch.randn(B, T))
    raw_values = f32(torch.randn(B, T))
    scores = f32(torch.randn(B))
    new = f32(old + 0.3 * torch.randn(B, T))
    value_new = f32(raw_values + 0.3 * torch.randn(B, T))

    is_eos = tokens == eos
    has = is_eos.any(1)
    last = torch.where(has, is_eos.double().argmax(1), T - 1)
    t = torch.arange(T).expand(B, T)
    mask = t <= last[:, None]
    mask_value = t <= last[:, None] + 1
    old_m, ref_m = old.masked_fill(~mask, 1.0), ref.masked_fill(~mask, 1.0)
    values = raw_values.masked_fill(~mask_value, 0.0)
    kl = old_m - ref_m

    def assemble(per_token, final, slot_after):
        rewards = -beta * per_token
        slot = torch.where((last + 1 < T) & slot_after, last + 1, last)
        rewards[torch.arange(B), slot] += final
        return rewards

    replaced = torch.where(has, scores, -1.0)
    after = torch.tensor(True)
    rewards = assemble(kl, replaced, after)
    k3 = torch.exp(-kl) - 1 + kl
    variants = dict(atLast=assemble(kl, replaced, ~after).tolist(),
                    subtract=assemble(kl, torch.where(has, scores, scores - 1.5), after).tolist(),
                    none=assemble(kl, scores, after).tolist(),
                    k2=assemble(kl ** 2 / 2, replaced, after).tolist(),
                    k3=assemble(k3, replaced, after).tolist())
    whitened_rewards = whiten(rewards, mask_value, False)
    advantages, returns = gae(rewards, values, 0.98, 0.9)
    normal = whiten(advantages, mask, True)

    results = []
    for low, high, dual in ((0.2, 0.2, None), (0.1, 0.3, 1.2)):
        n = new.clone().requires_grad_()
        delta = n - old
        ratio = torch.exp(delta)
        unclipped, clipped = -normal * ratio, -normal * torch.clamp(ratio, 1 - low, 1 + high)
        worst = torch.max(unclipped, clipped)
        if dual is not None:
            worst = torch.where(normal < 0, torch.min(worst, -normal * dual), worst)
        loss = masked_mean(worst, mask)
        loss.backward()
        with torch.no_grad():
            k3_new = ratio - 1 - delta
            results.append(dict(
                low=low, high=high, dual=dual, loss=loss.item(), gradient=n.grad.tolist(),
                approxkl=(0.5 * masked_mean(delta ** 2, mask)).item(), k1=masked_mean(-delta, mask).item(),
                k3=masked_mean(k3_new, mask).item(),
                clipfrac=masked_mean((clipped > unclipped).double(), mask).item(),
                ratio=masked_mean(ratio, mask).item(),
                ratioVariance=(masked_mean(ratio ** 2, mask) - masked_mean(ratio, mask) ** 2).item(),
                maxRatioChange=((ratio - 1).abs() * mask).max().item(),
                legacyApproxkl=(0.5 * ((delta * mask) ** 2).mean()).item(),
                legacyClipfrac=((clipped > unclipped) & mask).double().mean().item()))

    v = value_new.clone().requires_grad_()
    bounded = torch.clamp(v, values - 0.2, values + 0.2)
    first, second = (v - returns) ** 2, (bounded - returns) ** 2
    value_loss = 0.5 * masked_mean(torch.max(first, second), mask_value)
    value_loss.backward()
    with torch.no_grad():
        error, kept = (value_new - returns)[mask_value], returns[mask_value]
        value = dict(loss=value_loss.item(), gradient=v.grad.tolist(),
                     clipfrac=masked_mean((second > first).double(), mask_value).item(), meanError=error.mean().item(),
                     explainedVariance=(1 - error.var(unbiased=False) / kept.var(unbiased=False)).item())

    rows = dict(kl=kl.sum(1).mean(), k2=(kl ** 2 / 2).sum(1).mean(), k3=(k3 * mask).sum(1).mean(),
                entropy=(-old * mask).sum(1).mean(), legacyEntropy=(-old_m).sum(1).mean(),
                nonScoreReward=(-beta * kl).sum(1).mean(), score=replaced.mean(), length=(last + 1).double().mean(),
                eosFraction=has.double().mean())
    return dict(B=B, T=T, eos=eos, beta=beta, gamma=0.98, lam=0.9, tokens=tokens.tolist(), old=old.tolist(),
                ref=ref.tolist(), rawValues=raw_values.tolist(), scores=scores.tolist(), new=new.tolist(),
                valueNew=value_new.tolist(), last=last.tolist(), hasEos=[int(x) for x in has], values=values.tolist(),
                oldMasked=old_m.tolist(), rewards=rewards.tolist(), variants=variants,
                whitenedRewards=whitened_rewards.tolist(), advantages=advantages.tolist(), returns=returns.tolist(),
                whitened=normal.tolist(), whitenedUnbiased=whiten(advantages, mask, True, True).tolist(),
                policy=results, value=value, rows={k: float(x) for k, x in rows.items()})


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.12g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


golden = dict(torch=torch.__version__, pairwise=pairwise(), ppo=ppo())
path = pathlib.Path(__file__).parent / "golden" / "ppo_losses.json"
path.write_text(json.dumps(rounded(golden), separators=(",", ":")) + "\n")
