"""A small random reward model in float64: scores at the end of each sequence, the pairwise loss and every gradient.

The model is Qwen2ForSequenceClassification with one label: a linear map, without bias, of the state after the final norm at the last
token. Checked against transformers' own, which finds that token by looking for padding.

Run: python tests/oracles/qwen2_reward.py -> golden/qwen2_reward/ (F32), golden/qwen2_reward.safetensors and .json
"""
import torch
import torch.nn.functional as F
from transformers import Qwen2ForSequenceClassification

from qwen2_model import config, gradients, hidden_states, parameters, random_weights, save, total_norm, write_folder, write_json

EOS, PAD = 3, 5
sizes = dict(
    vocab_size=97, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
    head_dim=8, tie_word_embeddings=True, id2label={0: "LABEL_0"}, label2id={"LABEL_0": 0})
cfg = config(**sizes)


def reward_weights(seed, dtype):
    w = random_weights(cfg, seed, dtype, head=False)
    w["score.weight"] = torch.randn(1, cfg.hidden_size).mul(cfg.hidden_size ** -0.5).to(dtype).double()
    return w


def text(length):
    """Random tokens without EOS or padding, then EOS."""
    ids = torch.randint(6, cfg.vocab_size, (length,))
    ids[-1] = EOS
    return ids


def score(w, ids):
    return hidden_states(w, cfg, ids)[-1] @ w["score.weight"][0]


if __name__ == "__main__":
    start = reward_weights(11, torch.float32)
    model = write_folder("qwen2_reward", Qwen2ForSequenceClassification(cfg), start, torch.float32)
    torch.manual_seed(15)
    chosen, rejected = [text(n) for n in (7, 1, 33, 20)], [text(n) for n in (12, 4, 30, 20)]
    sequences = chosen + rejected

    longest = max(map(len, sequences))
    ids = torch.stack([F.pad(s, (0, longest - len(s)), value=PAD) for s in sequences])
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits[:, 0]
        ours = torch.stack([score(start, s) for s in sequences])
        assert (theirs - ours).abs().max() < 1e-5, (theirs, ours)

    w = parameters(start)
    scores = torch.stack([score(w, s) for s in sequences])
    good, bad = scores.chunk(2)
    loss = -F.logsigmoid(good - bad).mean()
    loss.backward()
    save("qwen2_reward", gradient=gradients(w))
    write_json("qwen2_reward", dict(
        lengths=[len(s) for s in sequences], tokens=torch.cat(sequences), scores=scores, loss=loss.item(),
        accuracy=(good > bad).double().mean().item(), gradNorm=total_norm(gradients(w))))
