// x[first + i, j] = x[sources[i], j] for i < copies, j < width: rows that repeat earlier ones
//
// x        f32 [≥ first + copies, stride], read in rows below `first`, written in the others; element (first + i, j) belongs to invocation
//          i · width + j
// sources  u32 [copies], read; each below `first`
// width ≤ stride. Grid: ceil(copies · width / 64) workgroups of 64, folded into x and y. 8 bytes per element copied.

struct Params {
  units: u32,
  first: u32,
  width: u32,
  stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sources: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let unit = id.y * groups.x * 64u + id.x;
  if (unit >= params.units) { return; }
  let i = unit / params.width;
  let j = unit % params.width;
  x[(params.first + i) * params.stride + j] = x[sources[i] * params.stride + j];
}
