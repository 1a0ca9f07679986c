// What a rollout is judged by, one row of sums for each response; d = logprob − reference over the tokens t ≤ last:
//   partial[b] = 1, Σ d, Σ d²/2, Σ (exp(−d) − 1 + d), Σ −logprob, Σ −beta·k, final score, final score², raw score, raw score²,
//                last + 1, (last + 1)², hasEos, and the maxima of final score, −final score, last + 1
// k is the estimator's term, final score as in kl_reward.wgsl; the raw score is scores[b].
//
// logprob, reference  f32 [B, T], read for t ≤ last only
// last, hasEos        u32 [B], read
// scores              f32 [B], read
// partial             f32 [B, 16], written; row b belongs to invocation b
// Any B, T. Workgroup 64; grid: ceil(B / 64). 8 bytes and about 12 FLOPs a token. fold.wgsl adds the rows.

struct Params { B: u32, T: u32, beta: f32, estimator: u32, missingEos: u32, missingValue: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read> reference: array<f32>;
@group(0) @binding(3) var<storage, read> last: array<u32>;
@group(0) @binding(4) var<storage, read> hasEos: array<u32>;
@group(0) @binding(5) var<storage, read> scores: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

// exp(x) − 1 − x, by its series where the subtraction would lose the digits.
fn excess(x: f32) -> f32 {
  let series = x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x / 120.0)));
  return select(exp(x) - 1.0 - x, series, abs(x) < 0.1);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let b = id.x;
  if (b >= params.B) { return; }
  var k1 = 0.0;
  var k2 = 0.0;
  var k3 = 0.0;
  var surprise = 0.0;
  let count = min(last[b] + 1u, params.T);
  for (var t = 0u; t < count; t += 1u) {
    let own = logprob[b * params.T + t];
    let d = own - reference[b * params.T + t];
    k1 += d;
    k2 += 0.5 * d * d;
    k3 += excess(-d);
    surprise -= own;
  }
  var charged = k1;
  if (params.estimator == 2u) { charged = k2; }
  if (params.estimator == 3u) { charged = k3; }
  var score = scores[b];
  if (hasEos[b] == 0u) {
    if (params.missingEos == 1u) { score = params.missingValue; }
    if (params.missingEos == 2u) { score -= params.missingValue; }
  }
  let length = f32(count);
  let row = 16u * b;
  partial[row] = 1.0;
  partial[row + 1u] = k1;
  partial[row + 2u] = k2;
  partial[row + 3u] = k3;
  partial[row + 4u] = surprise;
  partial[row + 5u] = -params.beta * charged;
  partial[row + 6u] = score;
  partial[row + 7u] = score * score;
  partial[row + 8u] = scores[b];
  partial[row + 9u] = scores[b] * scores[b];
  partial[row + 10u] = length;
  partial[row + 11u] = length * length;
  partial[row + 12u] = f32(hasEos[b]);
  partial[row + 13u] = score;
  partial[row + 14u] = -score;
  partial[row + 15u] = length;
}
