// dhidden[r, d] = dy[r]·weight[d]   (+ dhidden[r, d] if accumulate)
//
// dy       f32 [R], read
// weight   f32 [D], read
// dhidden  f32 [R, D], read and written; each element belongs to one invocation
// Any R, D. Workgroup 64; grid: (ceil(D / 64), rows) with rows folded into y and z. 4·R·D bytes, R·D FLOPs.

struct Params { R: u32, D: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> dhidden: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let d = id.x;
  let r = group.z * groups.y + group.y;
  if (d >= params.D || r >= params.R) { return; }
  let i = r * params.D + d;
  dhidden[i] = dy[r] * weight[d] + select(0.0, dhidden[i], params.accumulate == 1u);
}
