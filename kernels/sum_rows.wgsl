// sums[d] = Σ_c partial[c, d]   (+ sums[d] if accumulate), c in rising order
//
// partial  f32 [C, D], read
// sums     f32 [D], read and written; element d belongs to invocation d
// Any C, D. Workgroup 64; grid: ceil(D / 64). 4·C·D bytes, C·D FLOPs.

struct Params { C: u32, D: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  if (d >= params.D) { return; }
  var sum = 0.0;
  for (var c = 0u; c < params.C; c += 1u) {
    sum += partial[c * params.D + d];
  }
  sums[d] = sum + select(0.0, sums[d], params.accumulate == 1u);
}
