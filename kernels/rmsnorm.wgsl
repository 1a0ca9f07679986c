// y[t, d] = x[t, d] · scale[t] · weight[d],   scale[t] = 1 / sqrt(mean_d x[t, d]² + eps)
//
// x       f32 [T, D], read
// weight  f32 [D], read
// y       f32 [T, D], written; row t belongs to workgroup t
// scale   f32 [T], written; kept for the gradient
// Any T, D. Workgroup `lanes`, a power of two (8 on CPU adapters: one vector, so that barriers are
// free); grid: one workgroup a row, folded into x and y.
// The sum is a fixed tree: strided partial sums, then halving. 12·T·D bytes, 4·T·D FLOPs.

struct Params { T: u32, D: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;

override lanes: u32 = 64u;
var<workgroup> partial: array<f32, lanes>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = group.y * groups.x + group.x;
  if (t >= params.T) { return; }
  let row = t * params.D;
  var sum = 0.0;
  for (var d = lane; d < params.D; d += lanes) {
    let value = x[row + d];
    sum += value * value;
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let rms = inverseSqrt(partial[0] / f32(params.D) + params.eps);
  if (lane == 0u) { scale[t] = rms; }
  for (var d = lane; d < params.D; d += lanes) {
    y[row + d] = x[row + d] * rms * weight[d];
  }
}
