// x = chosen[p] − rejected[p],   z = x − margin:   loss = −log σ(z) = max(−z, 0) + log(1 + exp(−|z|))
//
// chosen    f32 [P], read
// rejected  f32 [≥ rejectedFrom + P], read at rejectedFrom + p; may be the buffer of `chosen`
// margin    f32 [1] or [P], read at p · marginStride
// margins   f32 [P], written: x; element p belongs to invocation p
// slope     f32 [P], written: ∂loss / ∂chosen[p] of this pair alone, −σ(−z)
// partial   f32 [P, 6], written: 1, loss, chosen > rejected, x, chosen, rejected
// Workgroup 64; grid: ceil(P / 64). 48 bytes a pair. fold.wgsl adds the rows of `partial`.

struct Params { P: u32, rejectedFrom: u32, marginStride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> chosen: array<f32>;
@group(0) @binding(2) var<storage, read> rejected: array<f32>;
@group(0) @binding(3) var<storage, read> margin: array<f32>;
@group(0) @binding(4) var<storage, read_write> margins: array<f32>;
@group(0) @binding(5) var<storage, read_write> slope: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let p = id.x;
  if (p >= params.P) { return; }
  let better = chosen[p];
  let worse = rejected[params.rejectedFrom + p];
  let z = better - worse - margin[p * params.marginStride];
  let tail = exp(-abs(z));
  // The series keeps log(1 + tail) accurate where adding 1 would round the tail away.
  let rest = select(log(1.0 + tail), tail * (1.0 - tail * (0.5 - tail / 3.0)), tail < 0.01);
  margins[p] = better - worse;
  slope[p] = -select(1.0, tail, z > 0.0) / (1.0 + tail);
  let row = 6u * p;
  partial[row] = 1.0;
  partial[row + 1u] = max(-z, 0.0) + rest;
  partial[row + 2u] = select(0.0, 1.0, better > worse);
  partial[row + 3u] = better - worse;
  partial[row + 4u] = better;
  partial[row + 5u] = worse;
}
