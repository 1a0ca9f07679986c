// dLogprob[r] = −scale·weights[r]·dLoss   (+ dLogprob[r] if accumulate; weights taken as 1 if weighted = 0)
//
// weights   f32 [R], read
// dLoss     f32 [1], read
// dLogprob  f32 [R], written (read as well if accumulate); element r belongs to one invocation
// Any R. Workgroup 64; grid: one invocation an element, folded into x and y. 8·R bytes, 2·R FLOPs.

struct Params { R: u32, weighted: u32, accumulate: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> dLoss: array<f32>;
@group(0) @binding(3) var<storage, read_write> dLogprob: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let r = id.y * groups.x * 64u + id.x;
  if (r >= params.R) { return; }
  var gradient = -params.scale * dLoss[0];
  if (params.weighted == 1u) { gradient *= weights[r]; }
  if (params.accumulate == 1u) { gradient += dLogprob[r]; }
  dLogprob[r] = gradient;
}
