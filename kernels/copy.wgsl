// duplicate[i] = source[i], for any 32-bit elements
//
// source  u32 [size], read
// duplicate  u32 [size], written; element i belongs to invocation i
// Grid: ceil(size / 64) workgroups of 64, folded into x and y. 8 bytes per element.

struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> duplicate: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.size) { return; }
  duplicate[i] = source[i];
}
