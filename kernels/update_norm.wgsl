// partial[to + c] = Σ over x = first[c], first[c + C], first[c + 2C], … of u²,   u = firstScale·x / (√(secondScale·y) + eps)
// the direction of AdamW's update (adamw.wgsl) from its two moments, y = second[…]; or from a gradient alone, as in the first step: y = x²
//
// first    f32 [≥ firstOffset + size], read
// second   f32 [≥ secondOffset + size], read if squared = 0
// partial  f32 [≥ to + C], written; element to + c belongs to invocation c
// Any size, C ≥ 1. Workgroup 64; grid: ceil(C / 64). 8 bytes and 7 FLOPs an element. Where x is not finite, u counts as 0.

struct Params {
  size: u32, firstOffset: u32, secondOffset: u32, C: u32, to: u32, squared: u32,
  firstScale: f32, secondScale: f32, eps: f32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<f32>;
@group(0) @binding(2) var<storage, read> second: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var sum = 0.0;
  for (var i = id.x; i < params.size; i += params.C) {
    let x = first[params.firstOffset + i];
    var root = abs(x);
    if (params.squared == 0u) { root = sqrt(params.secondScale * second[params.secondOffset + i]); }
    let u = params.firstScale * x / (root + params.eps);
    if ((bitcast<u32>(u) & 0x7f800000u) != 0x7f800000u) { sum += u * u; }
  }
  partial[params.to + id.x] = sum;
}
