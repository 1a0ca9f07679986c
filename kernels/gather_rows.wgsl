// y[i, d] = x[map[i], d], or 0 where map[i] is none   (added to y if accumulate)
//
// x    f32 [N, D], read
// map  u32 [M], read: a row of x, or 4294967295 for none
// y    f32 [M, D], written (read as well if accumulate); element (i, d) belongs to one invocation
// Any M, N, D. Workgroup 64; grid: one invocation an element, folded into x and y. 8·M·D bytes, no FLOPs.
// With map = the chosen rows this is the gather; with the inverse map it is the gather's gradient, and it needs no atomics.

struct Params { M: u32, D: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> map: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

const none = 4294967295u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.M * params.D) { return; }
  let row = i / params.D;
  let source = map[row];
  if (source == none) {
    if (params.accumulate == 0u) { y[i] = 0.0; }
    return;
  }
  let value = x[source * params.D + (i - row * params.D)];
  if (params.accumulate == 1u) { y[i] += value; } else { y[i] = value; }
}
