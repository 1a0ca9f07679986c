// Draws a token a row by the Gumbel-max trick, tile by tile:
//   token[r] = argmax_v (z[r, v] + g(r, v)),   logprob[r] = z[r, token] − log Σ_v exp(z[r, v])
// g is a standard Gumbel variate of the Philox word v mod 4 at counter (v / 4, position, sample, step), key (seed, stage): it
// depends on nothing else, so neither tiles nor batches change what is drawn. Greedy leaves g out. The lowest id wins ties.
//
// tile       f32 [rows, columns], read: z of rows firstRow… and of the ids firstId…
// samples    u32 [R], read: which sequence each row belongs to
// positions  u32 [R], read if positioned = 1: added to `position`
// state      vec4f [R], read and written: max z, Σ exp(z − max), the best perturbed z, and the z beneath it, over the tiles so far
// token      u32 [R], written;  logprob  f32 [R], written if last = 1
// Follows random.wgsl. Any rows, columns. Workgroup `lanes` (a power of two); grid: one workgroup a row of the tile, folded into x
// and y; it owns the row of every output. 8·rows·columns bytes; one exp, two logs and a quarter of a Philox call an element.

struct Params {
  rows: u32, columns: u32, firstRow: u32, firstId: u32, begin: u32, last: u32,
  greedy: u32, positioned: u32, position: u32, step: u32, seed: u32, stage: u32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tile: array<f32>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> token: array<u32>;
@group(0) @binding(6) var<storage, read_write> logprob: array<f32>;

override lanes: u32 = 256;
const lowest = -3.4028234e38f;
const nobody = 4294967295u;

var<workgroup> tops: array<f32, 256>;
var<workgroup> values: array<f32, 256>;
var<workgroup> winners: array<u32, 256>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let r = params.firstRow + local;
  let base = local * params.columns;
  var position = params.position;
  if (params.positioned == 1u) { position += positions[r]; }

  var top = lowest;
  var value = lowest;
  var winner = nobody;
  let end = params.firstId + params.columns;
  for (var block = params.firstId / 4u + lane; block * 4u < end; block += lanes) {
    var words = vec4u(0u);
    if (params.greedy == 0u) {
      words = philox(vec4u(block, position, samples[r], params.step), vec2u(params.seed, params.stage));
    }
    for (var k = 0u; k < 4u; k++) {
      let id = block * 4u + k;
      if (id >= params.firstId && id < end) {
        let z = tile[base + id - params.firstId];
        top = max(top, z);
        var perturbed = z;
        if (params.greedy == 0u) { perturbed += gumbel(words.x); }
        if (perturbed > value) {
          value = perturbed;
          winner = id;
        }
      }
      words = words.yzwx;
    }
  }
  tops[lane] = top;
  values[lane] = value;
  winners[lane] = winner;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) {
      tops[lane] = max(tops[lane], tops[lane + half]);
      let other = values[lane + half];
      if (other > values[lane] || (other == values[lane] && winners[lane + half] < winners[lane])) {
        values[lane] = other;
        winners[lane] = winners[lane + half];
      }
    }
    workgroupBarrier();
  }
  let m = tops[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var c = lane; c < params.columns; c += lanes) { sum += exp(tile[base + c] - m); }
  tops[lane] = sum;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { tops[lane] += tops[lane + half]; }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }

  // A row of NaN has no winner; it answers with its first id and a logprob that is NaN.
  let best = select(winners[0], params.firstId, winners[0] == nobody);
  var now = vec4f(m, tops[0], values[0], tile[base + best - params.firstId]);
  if (params.begin == 0u) {
    let before = state[r];
    let both = max(before.x, m);
    let sumOfBoth = before.y * exp(before.x - both) + now.y * exp(m - both);
    if (now.z > before.z) {
      token[r] = best;
      now = vec4f(both, sumOfBoth, now.z, now.w);
    } else {
      now = vec4f(both, sumOfBoth, before.z, before.w);
    }
  } else {
    token[r] = best;
  }
  state[r] = now;
  if (params.last == 1u) { logprob[r] = now.w - now.x - log(now.y); }
}
