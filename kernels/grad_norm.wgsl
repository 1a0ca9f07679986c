// partial[to + c, 0] = how many of x[c], x[c + C], x[c + 2C], … are infinite or NaN
// partial[to + c, 1] = the sum of their squares
//
// x        f32 [size], read
// partial  f32 [≥ to + C, 2], written; row to + c belongs to invocation c
// Any size, C ≥ 1. Workgroup 64; grid: ceil(C / 64). 4 bytes and 2 FLOPs an element; fold.wgsl adds the rows.
// Finiteness is read off the bits, since a compiler may assume that no float is NaN.

struct Params { size: u32, C: u32, to: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var squares = 0.0;
  var strays = 0u;
  for (var i = id.x; i < params.size; i += params.C) {
    let value = x[i];
    squares += value * value;
    strays += select(0u, 1u, (bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u);
  }
  let row = 2u * (params.to + id.x);
  partial[row] = f32(strays);
  partial[row + 1u] = squares;
}
