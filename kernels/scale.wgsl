// y[destination + i] = factor · by[0] · x[source + i]   (+ y[destination + i] if accumulate)
//
// x   f32 [≥ source + size], read
// by  f32 [1], read
// y   f32 [≥ destination + size], read and written at destination + i; that element belongs to invocation i
// Grid: ceil(size / 64) workgroups of 64, folded into x and y. 8 bytes and 2 FLOPs an element.

struct Params { size: u32, factor: f32, accumulate: u32, source: u32, destination: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> by: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.size) { return; }
  let value = params.factor * by[0] * x[params.source + i];
  y[params.destination + i] = value + select(0.0, y[params.destination + i], params.accumulate == 1u);
}
