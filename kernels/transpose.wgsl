// y[c, r] = x[r, c]
//
// x  f32, read as vec4: element (r, c) at offset + r·stride + c; offset and stride multiples of 4
// y  f32, written: element (c, r) at yOffset + c·yStride + r
// Any rows; columns a multiple of 4. Workgroup 8; grid: x ⌈rows / 8⌉, y columns / 4, folded into y and z. An invocation owns four columns of
// one row; neighbours own neighbouring rows, so that writes are contiguous. 8·rows·columns bytes.

struct Params { rows: u32, columns: u32, offset: u32, stride: u32, yOffset: u32, yStride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let r = group.x * 8u + lane;
  let c = (group.z * groups.y + group.y) * 4u;
  if (r >= params.rows || c >= params.columns) { return; }
  let value = x[(params.offset + r * params.stride + c) >> 2u];
  let at = params.yOffset + c * params.yStride + r;
  y[at] = value.x;
  y[at + params.yStride] = value.y;
  y[at + 2u * params.yStride] = value.z;
  y[at + 3u * params.yStride] = value.w;
}
