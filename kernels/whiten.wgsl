// Over the slots t ≤ last[b] + beyond of each group of `rows` consecutive rows, n of them:
//   mean = Σ x / n,   variance = Σ (x − mean)² / (n − unbiased)
//   y = (x − mean) / sqrt(variance + eps)  (+ mean if keepMean) there, 0 elsewhere
//
// x        f32 [B, T], read at those slots only
// last     u32 [B], read
// y        f32 [B, T], written; the rows of group g belong to workgroup g
// moments  f32 [G, 3], written: n, mean, variance
// Any B, T; G = ceil(B / rows). Workgroup 256; grid: G. Two passes, each a fixed tree. 16·B·T bytes, 6·B·T FLOPs.

struct Params { B: u32, T: u32, rows: u32, beyond: u32, unbiased: u32, keepMean: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> last: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> moments: array<f32>;

var<workgroup> tree: array<vec2f, 256>;

fn live(i: u32) -> bool {
  let b = i / params.T;
  return i - b * params.T <= last[b] + params.beyond;
}

fn total(lane: u32, value: vec2f) -> vec2f {
  workgroupBarrier();
  tree[lane] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if (lane < half) { tree[lane] += tree[lane + half]; }
    workgroupBarrier();
  }
  return tree[0];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group.x * params.rows * params.T;
  let end = min((group.x + 1u) * params.rows, params.B) * params.T;
  var sum = vec2f(0.0);
  for (var i = first + lane; i < end; i += 256u) {
    if (live(i)) { sum += vec2f(x[i], 1.0); }
  }
  let sums = total(lane, sum);
  let count = sums.y;
  let mean = sums.x / max(count, 1.0);
  var squares = 0.0;
  for (var i = first + lane; i < end; i += 256u) {
    if (live(i)) { squares += (x[i] - mean) * (x[i] - mean); }
  }
  let variance = total(lane, vec2f(squares, 0.0)).x / max(count - f32(params.unbiased), 1.0);
  let scale = 1.0 / sqrt(variance + params.eps);
  let kept = select(0.0, mean, params.keepMean == 1u);
  for (var i = first + lane; i < end; i += 256u) {
    var value = 0.0;
    if (live(i)) { value = (x[i] - mean) * scale + kept; }
    y[i] = value;
  }
  if (lane == 0u) {
    moments[3u * group.x] = count;
    moments[3u * group.x + 1u] = mean;
    moments[3u * group.x + 2u] = variance;
  }
}
