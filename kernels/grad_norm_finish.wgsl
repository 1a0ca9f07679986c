// norm[0] = scale · √sums[1]
// clipScale[0] = scale · min(1, maxNorm / (norm + 1e-6)), or 0 if sums[0] > 0 or the norm has overflowed
//
// sums       f32 [2], read: the count of non-finite gradients, the sum of squares
// norm       f32 [1], written
// clipScale  f32 [1], written
// One invocation.

struct Params { scale: f32, maxNorm: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> clipScale: array<f32>;

@compute @workgroup_size(1)
fn main() {
  let total = params.scale * sqrt(sums[1]);
  norm[0] = total;
  let stray = sums[0] > 0.0 || (bitcast<u32>(total) & 0x7f800000u) == 0x7f800000u;
  clipScale[0] = select(params.scale * min(1.0, params.maxNorm / (total + 1e-6)), 0.0, stray);
}
