// y[⌊c / width⌋, r, c mod width] = x[r, c]: the columns of x cut into panels, one after the other, each dense
//
// x  f32, read as vec4: element (r, c) at offset + r·stride + c; offset and stride multiples of 4
// y  f32, written as vec4: element (p, r, c) at p·panel + (firstRow + r)·width + c; panel and width multiples of 4
// Any rows; columns a multiple of 4. Workgroup 8; grid: x ⌈columns / 32⌉, y rows at most 65,535. An invocation owns four columns of one
// row. What a last, narrower panel leaves over is not written. 8·rows·columns bytes.

struct Params { rows: u32, columns: u32, offset: u32, stride: u32, firstRow: u32, width: u32, panel: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let r = group.y;
  let c = (group.x * 8u + lane) * 4u;
  if (r >= params.rows || c >= params.columns) { return; }
  let at = (c / params.width) * params.panel + (params.firstRow + r) * params.width + c % params.width;
  y[at >> 2u] = x[(params.offset + r * params.stride + c) >> 2u];
}
