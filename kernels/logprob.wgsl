// Merges one tile of logits into a row's running log-sum-exp, and after the last tile writes
//   logSumExp[r] = log Σ_v exp(z[r, v]),   logprob[r] = z[r, labels[r]] − logSumExp[r],   entropy[r] = −Σ_v p[r, v]·log p[r, v]
//
// tile       vec4f [rows, ceil(columns / 4)], read: z of rows firstRow… and of the ids firstId…; what pads a row is not looked at
// labels     u32 [R], read
// state      vec4f [R], read and written: m = max z,  s = Σ exp(z − m),  t = Σ (z − m)·exp(z − m),  z of the label, over the tiles
//            so far. With the maximum taken out, nothing overflows and the entropy, log s − t/s, does not cancel.
// logprob, logSumExp, entropy   f32 [R], written if last = 1
// Any rows, columns. Workgroup `lanes` (a power of two); grid: one workgroup a row of the tile, folded into x and y; it owns
// the row of every output. Sums are fixed trees. 4·rows·columns bytes (read twice), one exp and 5 FLOPs an element.

struct Params { rows: u32, columns: u32, firstRow: u32, firstId: u32, begin: u32, last: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tile: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> logprob: array<f32>;
@group(0) @binding(5) var<storage, read_write> logSumExp: array<f32>;
@group(0) @binding(6) var<storage, read_write> entropy: array<f32>;

override lanes: u32 = 128;
const lowest = -3.4028234e38f;

var<workgroup> partial: array<vec2f, 256>;

/** Four logits of the row; those past its end as the lowest number, whose exponential is 0. */
fn logits(base: u32, q: u32) -> vec4f {
  let z = tile[base + q];
  if (q * 4u + 4u <= params.columns) { return z; }
  return select(vec4f(lowest), z, q * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(params.columns));
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let quads = (params.columns + 3u) / 4u;
  let base = local * quads;
  var tops = vec4f(lowest);
  for (var q = lane; q < quads; q += lanes) { tops = max(tops, logits(base, q)); }
  let top = max(max(tops.x, tops.y), max(tops.z, tops.w));
  partial[lane] = vec2f(top, 0.0);
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane].x = max(partial[lane].x, partial[lane + half].x); }
    workgroupBarrier();
  }
  let m = partial[0].x;
  workgroupBarrier();
  var sum = vec4f(0.0);
  var moment = vec4f(0.0);
  for (var q = lane; q < quads; q += lanes) {
    let below = logits(base, q) - m;
    let e = exp(below);
    sum += e;
    moment += below * e;
  }
  let sums = vec2f((sum.x + sum.y) + (sum.z + sum.w), (moment.x + moment.y) + (moment.z + moment.w));
  partial[lane] = sums;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }

  let r = params.firstRow + local;
  var now = vec4f(m, partial[0].x, partial[0].y, lowest);
  if (params.begin == 0u) {
    let before = state[r];
    let both = max(before.x, m);
    let a = exp(before.x - both);
    let b = exp(m - both);
    now = vec4f(
      both,
      before.y * a + now.y * b,
      (before.z + (before.x - both) * before.y) * a + (now.z + (m - both) * now.y) * b,
      before.w,
    );
  }
  let label = labels[r];
  if (label >= params.firstId && label - params.firstId < params.columns) {
    let c = label - params.firstId;
    now.w = tile[base + c / 4u][c % 4u];
  }
  state[r] = now;
  if (params.last == 1u) {
    let logSum = log(now.y);
    logprob[r] = now.w - now.x - logSum;
    logSumExp[r] = now.x + logSum;
    entropy[r] = logSum - now.z / now.y;
  }
}
