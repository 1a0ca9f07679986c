// With d = logprob − reference:  penalty k = d (k1), d²/2 (k2) or exp(−d) − 1 + d (k3) for t ≤ last, 0 after
//   reward[b, t] = −beta·k   (+ final score if t is the score slot)
// The score slot is last + 1 where that is below T and scoreAfter is 1, else last.
// Final score: scores[b]; where the response has no EOS, missingEos = 1 replaces it with missingValue and 2 subtracts missingValue.
//
// logprob, reference  f32 [B, T], read for t ≤ last only
// last, hasEos        u32 [B], read
// scores              f32 [B], read
// reward              f32 [B, T], written; each element belongs to one invocation
// penalty             f32 [B, T], written, likewise: k
// Any B, T. Grid: ceil(B·T / 64) workgroups of 64, folded into x and y. 16 bytes an element.

struct Params {
  B: u32, T: u32, beta: f32, estimator: u32, scoreAfter: u32, missingEos: u32, missingValue: f32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read> reference: array<f32>;
@group(0) @binding(3) var<storage, read> last: array<u32>;
@group(0) @binding(4) var<storage, read> hasEos: array<u32>;
@group(0) @binding(5) var<storage, read> scores: array<f32>;
@group(0) @binding(6) var<storage, read_write> reward: array<f32>;
@group(0) @binding(7) var<storage, read_write> penalty: array<f32>;

// exp(x) − 1 − x, by its series where the subtraction would lose the digits.
fn excess(x: f32) -> f32 {
  let series = x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x / 120.0)));
  return select(exp(x) - 1.0 - x, series, abs(x) < 0.1);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.B * params.T) { return; }
  let b = i / params.T;
  let t = i - b * params.T;
  var k = 0.0;
  if (t <= last[b]) {
    let d = logprob[i] - reference[i];
    k = d;
    if (params.estimator == 2u) { k = 0.5 * d * d; }
    if (params.estimator == 3u) { k = excess(-d); }
  }
  var score = scores[b];
  if (hasEos[b] == 0u) {
    if (params.missingEos == 1u) { score = params.missingValue; }
    if (params.missingEos == 2u) { score -= params.missingValue; }
  }
  let scoreSlot = select(last[b], last[b] + 1u, params.scoreAfter == 1u && last[b] + 1u < params.T);
  var total = -params.beta * k;
  if (t == scoreSlot) { total += score; }
  reward[i] = total;
  penalty[i] = k;
}
