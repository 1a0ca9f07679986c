// partial[c] = x[c] + x[c + C] + x[c + 2C] + …
//
// x        f32 [size], read
// partial  f32 [C], written; element c belongs to invocation c
// Any size ≥ 1, C ≥ 1. Workgroup 64; grid: ceil(C / 64). 4 bytes and 1 FLOP an element; fold.wgsl adds the partial sums.

struct Params { size: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var total = 0.0;
  for (var i = id.x; i < params.size; i += params.C) { total += x[i]; }
  partial[id.x] = total;
}
