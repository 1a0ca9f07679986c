// y[i] = factor · by[0]   (+ y[i] if accumulate)
//
// by  f32 [1], read
// y   f32 [size], read and written; element i belongs to invocation i
// Grid: ceil(size / 64) workgroups of 64, folded into x and y. 4 bytes an element.

struct Params { size: u32, factor: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> by: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.size) { return; }
  y[i] = params.factor * by[0] + select(0.0, y[i], params.accumulate == 1u);
}
