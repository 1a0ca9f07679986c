// loss = −scale·Σ_r weights[r]·logprob[r]   (weights taken as 1 if weighted = 0)
//
// logprob  f32 [R], read
// weights  f32 [R], read
// loss     f32 [1], written by the only workgroup; the sum is a fixed tree
// Any R. Workgroup 64; grid: 1. 8·R bytes, 2·R FLOPs.

struct Params { R: u32, weighted: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var r = lane; r < params.R; r += 64u) {
    if (params.weighted == 1u) { sum += weights[r] * logprob[r]; } else { sum += logprob[r]; }
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { loss[0] = -params.scale * partial[0]; }
}
