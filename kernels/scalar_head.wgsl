// y[r] = Σ_d hidden[r, d]·weight[d] + bias[0] − offset[0]
//
// hidden  f32 [R, D], read
// weight  f32 [D], read
// bias    f32 [1], read
// offset  f32 [1], read
// y       f32 [R], written; element r belongs to workgroup r
// Any R, D. Workgroup 64; grid: one workgroup a row, folded into x and y. 4·R·D bytes, 2·R·D FLOPs.

struct Params { R: u32, D: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> offset: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let r = group.y * groups.x + group.x;
  if (r >= params.R) { return; }
  var sum = 0.0;
  for (var d = lane; d < params.D; d += 64u) { sum += hidden[r * params.D + d] * weight[d]; }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { y[r] = partial[0] + bias[0] - offset[0]; }
}
