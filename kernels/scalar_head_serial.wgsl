// y[r] = Σ_d hidden[r, d]·weight[d] + bias[0] − offset[0], one invocation a row: scalar_head.wgsl for processors, where barriers are dear
// and every lane reads the same weight at once.
//
// hidden  f32 [R, D], read
// weight  f32 [D], read
// bias    f32 [1], read
// offset  f32 [1], read
// y       f32 [R], written; element r belongs to invocation r
// Any R, D. Workgroup 64; grid: ceil(R / 64), folded into x and y. 4·R·D bytes, 2·R·D FLOPs.

struct Params { R: u32, D: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> offset: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let r = id.y * groups.x * 64u + id.x;
  if (r >= params.R) { return; }
  var sum = 0.0;
  for (var d = 0u; d < params.D; d += 1u) { sum += hidden[r * params.D + d] * weight[d]; }
  y[r] = sum + bias[0] - offset[0];
}
