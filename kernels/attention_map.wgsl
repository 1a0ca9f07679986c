// map[i, j] = softmax_j(scale·q[first + i, head]·k[first + j, g])[j] for j ≤ i, else 0: the probabilities of one head over one sequence
//
// qkv  f32 [≥ first + T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v; hd = 4·hd4; g = head / (Hq / Hkv)
// map  f32 [T, T], written; row i belongs to workgroup i
// Any T. Workgroup `lanes` (a power of two); grid: one workgroup a row, folded into x and y. Sums are fixed trees.
// Each row is written three times: scores, exponentials, probabilities. 2·T·T·hd bytes from caches and T·T·hd FLOPs, about.

struct Params { T: u32, first: u32, head: u32, Hq: u32, Hkv: u32, hd4: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> map: array<f32>;

override lanes: u32 = 64;

var<workgroup> partial: array<f32, lanes>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = group.y * groups.x + group.x;
  if (i >= params.T) { return; }
  let stride = (params.Hq + 2u * params.Hkv) * params.hd4;
  let query = (params.first + i) * stride + params.head * params.hd4;
  let keys = params.first * stride + (params.Hq + params.head / (params.Hq / params.Hkv)) * params.hd4;
  let row = i * params.T;
  var highest = -3.4028234e38f;
  for (var j = lane; j < params.T; j += lanes) {
    var score = 0.0;
    if (j <= i) {
      for (var d = 0u; d < params.hd4; d++) { score += dot(qkv[query + d], qkv[keys + j * stride + d]); }
      score *= params.scale;
      highest = max(highest, score);
    }
    map[row + j] = score;
  }
  partial[lane] = highest;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] = max(partial[lane], partial[lane + half]); }
    workgroupBarrier();
  }
  highest = partial[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var j = lane; j <= i; j += lanes) {
    let weight = exp(map[row + j] - highest);
    map[row + j] = weight;
    sum += weight;
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  for (var j = lane; j <= i; j += lanes) { map[row + j] /= partial[0]; }
}
