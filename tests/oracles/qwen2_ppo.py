"""One PPO update on queries and responses of fixed tokens, in float64, from the formulas of arXiv 2403.17031 (released ppo.py).

Six queries of different lengths, responses of T = 9 tokens: EOS in the middle (with a second one behind it), absent, last, first,
last but one, and early. Policy, reference, reward model and critic are four different networks; policy and critic take four AdamW
steps (four epochs, one minibatch of all rows). The learning rate is far above the recipe's, so that clipping takes place.

Run after qwen2_reward.py, whose model scores here: python tests/oracles/qwen2_ppo.py -> golden/qwen2_policy/, qwen2_reference/,
qwen2_critic/ (BF16 models), golden/qwen2_ppo.safetensors and .json
"""
import torch
from safetensors.torch import load_file
from transformers import Qwen2ForCausalLM, Qwen2ForSequenceClassification

from qwen2_model import adamw, config, golden, gradients, hidden_states, logits_of, parameters, random_weights, save, total_norm
from qwen2_model import write_folder, write_json
from qwen2_reward import EOS, PAD, reward_weights, sizes
from qwen2_reward import cfg as score_cfg

T, BETA, GAMMA, LAMBDA, CLIP, VALUE_CLIP, VALUE_COEFFICIENT = 9, 0.05, 1.0, 0.95, 0.2, 0.2, 0.1
TAU = 0.7 + 1e-7
REWARD_OFFSET, CRITIC_OFFSET, CRITIC_BIAS, RATE, EPOCHS = 0.25, -0.5, 0.125, 2e-4, 4
ENDS = [4, None, 8, 0, 7, 2]  # the first EOS of each response


def texts():
    torch.manual_seed(31)
    queries = [torch.randint(6, 97, (n,)) for n in (3, 11, 1, 7, 20, 5)]
    responses = torch.randint(6, 97, (6, T))
    for row, end in enumerate(ENDS):
        if end is not None:
            responses[row, end] = EOS
            if end + 3 < T:
                responses[row, end + 3] = EOS  # a second one must not count
    return queries, responses


def nearby(w, seed, scale):
    torch.manual_seed(seed)
    return {k: (v + scale * v.std(correction=0) * torch.randn(v.shape)).bfloat16().double() for k, v in w.items()}


def mean(x, mask):
    return (x * mask).sum() / mask.sum()


if __name__ == "__main__":
    policy_cfg = config(**(sizes | dict(tie_word_embeddings=True)))
    queries, responses = texts()
    B = len(queries)

    start = random_weights(policy_cfg, 21, torch.bfloat16)
    # A sharper head: log-probabilities that differ from token to token and move when the weights do.
    reference = nearby(start, 22, 0.1)
    reward = {k: v.double() for k, v in load_file(golden / "qwen2_reward" / "model.safetensors").items()}
    critic_start = reward_weights(23, torch.bfloat16)
    write_folder("qwen2_policy", Qwen2ForCausalLM(policy_cfg), start, torch.bfloat16)
    write_folder("qwen2_reference", Qwen2ForCausalLM(policy_cfg), reference, torch.bfloat16)
    write_folder("qwen2_critic", Qwen2ForSequenceClassification(score_cfg), critic_start, torch.bfloat16)

    def response_logprobs(w):
        """[B, T] log-probabilities at temperature τ, and the entropies: the state before token t predicts it."""
        rows, entropies = [], []
        for query, response in zip(queries, responses):
            z = logits_of(w, policy_cfg, torch.cat([query, response]))[len(query) - 1: len(query) - 1 + T]
            log_p = (z / TAU).log_softmax(-1)
            rows.append(log_p[torch.arange(T), response])
            entropies.append(-(log_p.exp() * log_p).sum(-1))
        return torch.stack(rows), torch.stack(entropies)

    def state_values(w, bias):
        rows = []
        for query, response in zip(queries, responses):
            h = hidden_states(w, score_cfg, torch.cat([query, response]))[len(query) - 1: len(query) - 1 + T]
            rows.append(h @ w["score.weight"][0] + bias - CRITIC_OFFSET)
        return torch.stack(rows)

    # ---- rollout ----
    has_eos = torch.tensor([end is not None for end in ENDS])
    last = torch.tensor([T - 1 if end is None else end for end in ENDS])
    t = torch.arange(T).expand(B, T)
    mask, value_mask = t <= last[:, None], t <= last[:, None] + 1

    with torch.no_grad():
        old, entropy = response_logprobs(start)
        ref, _ = response_logprobs(reference)
        all_values = state_values(critic_start, CRITIC_BIAS)
        scores = []
        for query, response, end in zip(queries, responses, last):
            kept = torch.cat([query, response[: end + 1]])  # the truncated response: its state at EOS is scored
            scores.append(hidden_states(reward, score_cfg, kept)[-1] @ reward["score.weight"][0] - REWARD_OFFSET)
        raw_scores = torch.stack(scores)
    scores = torch.where(has_eos, raw_scores, torch.tensor(-1.0))

    old_masked, ref_masked = old.masked_fill(~mask, 1.0), ref.masked_fill(~mask, 1.0)
    values = all_values.masked_fill(~value_mask, 0.0)
    kl = old_masked - ref_masked
    rewards = -BETA * kl
    slot = torch.where(last + 1 < T, last + 1, last)
    rewards[torch.arange(B), slot] += scores

    advantages, carry = torch.zeros(B, T), torch.zeros(B)
    for step in reversed(range(T)):
        following = values[:, step + 1] if step + 1 < T else torch.zeros(B)
        delta = rewards[:, step] + GAMMA * following - values[:, step]
        carry = delta + GAMMA * LAMBDA * carry
        advantages[:, step] = carry
    returns = advantages + values
    centre = mean(advantages, mask)
    variance = mean((advantages - centre) ** 2, mask)
    whitened = (advantages - centre) / torch.sqrt(variance + 1e-8) * mask

    # ---- four epochs ----
    policy, critic = parameters(start), parameters(critic_start)
    bias = torch.tensor(CRITIC_BIAS, requires_grad=True)
    critic["score.bias"] = bias
    optimizer = adamw(policy, critic, lr=RATE)
    epochs, first = [], {}
    for epoch in range(EPOCHS):
        optimizer.zero_grad()
        raw_new, new_entropy = response_logprobs(policy)
        new = raw_new.masked_fill(~mask, 1.0)
        ratio = torch.exp(new - old_masked)
        unclipped, clipped = -whitened * ratio, -whitened * torch.clamp(ratio, 1 - CLIP, 1 + CLIP)
        policy_loss = mean(torch.max(unclipped, clipped), mask)

        value = state_values(critic, bias).masked_fill(~value_mask, 0.0)
        bounded = torch.clamp(value, values - VALUE_CLIP, values + VALUE_CLIP)
        near, far = (value - returns) ** 2, (bounded - returns) ** 2
        value_loss = 0.5 * mean(torch.max(near, far), value_mask)
        (policy_loss + VALUE_COEFFICIENT * value_loss).backward()
        if epoch < 2:
            first[f"policy_gradient{epoch + 1}"] = gradients(policy)
            first[f"critic_gradient{epoch + 1}"] = gradients(critic)
        with torch.no_grad():
            change = new - old_masked
            # How near any decision is to flipping: a test in f32 must not depend on one that is.
            nearest = min(((ratio - edge).abs()[mask]).min().item() for edge in (1 - CLIP, 1 + CLIP))
            nearest_value = ((value - values).abs() - VALUE_CLIP).abs()[value_mask].min().item()
            error, kept = (value - returns)[value_mask], returns[value_mask]
            epochs.append({
                "logprob": new, "value": value, "policyLoss": policy_loss, "valueLoss": value_loss,
                "loss": policy_loss + VALUE_COEFFICIENT * value_loss,
                "approxkl": 0.5 * mean(change ** 2, mask), "approxklUnmasked": 0.5 * (change ** 2).mean(),
                "k1": mean(-change, mask), "k3": mean(ratio - 1 - change, mask),
                "clipfrac": mean((clipped > unclipped).double(), mask), "clipfracUnmasked": (clipped > unclipped).double().mean(),
                "ratio": mean(ratio, mask), "ratioVariance": mean(ratio ** 2, mask) - mean(ratio, mask) ** 2,
                "maxRatioChange": ((ratio - 1).abs() * mask).max(), "entropy": mean(new_entropy, mask),
                "valueClipfrac": mean((far > near).double(), value_mask), "valueMean": mean(value, value_mask),
                "valueError": error.mean(), "explainedVariance": 1 - error.var(correction=0) / kept.var(correction=0),
                "policyGradNorm": total_norm(gradients(policy)), "criticGradNorm": total_norm(gradients(critic)),
                "nearestClip": nearest, "nearestValueClip": nearest_value,
            })
        optimizer.step()

    save("qwen2_ppo", policy_gradient1=first["policy_gradient1"], critic_gradient1=first["critic_gradient1"],
         policy_gradient2=first["policy_gradient2"], critic_gradient2=first["critic_gradient2"],
         policy_after4={k: v for k, v in policy.items()}, critic_after4={k: v.reshape(1) if k == "score.bias" else v for k, v in critic.items()})
    write_json("qwen2_ppo", dict(
        queries=[q.tolist() for q in queries], responses=responses, eos=EOS, pad=PAD, T=T, beta=BETA, gamma=GAMMA, lam=LAMBDA,
        clip=CLIP, valueClip=VALUE_CLIP, valueCoefficient=VALUE_COEFFICIENT, temperature=TAU, rewardOffset=REWARD_OFFSET,
        criticOffset=CRITIC_OFFSET, criticBias=CRITIC_BIAS, learningRate=RATE, eps=1e-5, weightDecay=0.01,
        rollout=dict(
            last=last, hasEos=has_eos.long(), logprob=old, reference=ref, entropy=entropy, values=values, allValues=all_values,
            rawScores=raw_scores, scores=scores, rewards=rewards, advantages=advantages, returns=returns, whitened=whitened,
            statistics=dict(
                kl=kl.sum(1).mean(), surprise=(-old * mask).sum(1).mean(), surpriseWithSentinels=(-old_masked).sum(1).mean(),
                nonScoreReward=(-BETA * kl).sum(1).mean(), score=scores.mean(), scoreTotal=(scores - BETA * kl.sum(1)).mean(),
                length=(last + 1).double().mean(), eosFraction=has_eos.double().mean())),
        epochs=epochs))
    assert all(min(e["nearestClip"], e["nearestValueClip"]) > 5e-4 for e in epochs), "a clip decision that f32 could flip"
