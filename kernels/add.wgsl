// sum[i] += source[i]
//
// source  f32 [size], read
// sum  f32 [size], read and written; element i belongs to invocation i
// Grid: ceil(size / 64) workgroups of 64, folded into x and y. 12 bytes and 1 FLOP per element.

struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.size) { return; }
  sum[i] += source[i];
}
