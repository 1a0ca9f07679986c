// dx[t, d] = scale·(weight[d]·dy[t, d] − x[t, d]·scale²·mean_e(weight[e]·dy[t, e]·x[t, e]))   (+ dx[t, d] if accumulate)
//
// x, dy   f32 [T, D], read
// weight  f32 [D], read
// scale   f32 [T], read: 1 / rms of the row, from the forward pass
// dx      f32 [T, D], read and written; row t belongs to workgroup t
// Any T, D. Workgroup `lanes`, a power of two (8 on CPU adapters: one vector, so that barriers are
// free); grid: one workgroup a row, folded into x and y. 16·T·D bytes, 8·T·D FLOPs.

struct Params { T: u32, D: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;

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
    sum += weight[d] * dy[row + d] * x[row + d];
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let rms = scale[t];
  let shrink = partial[0] / f32(params.D) * rms * rms;
  for (var d = lane; d < params.D; d += lanes) {
    let gradient = rms * (weight[d] * dy[row + d] - x[row + d] * shrink);
    dx[row + d] = gradient + select(0.0, dx[row + d], params.accumulate == 1u);
  }
}
