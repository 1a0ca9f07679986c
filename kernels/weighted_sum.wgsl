// y[i] = a[i]·wa + b[i]·wb
//
// a, b  f32 [size], read
// y     f32 [size], written; element i belongs to invocation i
// Grid: ceil(size / 64) workgroups of 64, folded into x and y. 12 bytes and 3 FLOPs an element.

struct Params { size: u32, wa: f32, wb: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.size) { return; }
  y[i] = a[i] * params.wa + b[i] * params.wb;
}
