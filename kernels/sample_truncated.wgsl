// Draws a token a row as sample.wgsl does, with the same random numbers, but among the row's most probable ids only. Ids are ranked by
// z, equal ones by id, lowest first. Top-k keeps the first topK; top-p then keeps the shortest beginning of those whose
// probability, relative to what top-k kept, reaches topP (one id at least). logprob is that of the full row all the same.
//
// tile       f32 [rows, V], read: z of rows firstRow…
// samples    u32 [R], read: which sequence each row belongs to
// positions  u32 [R], read if positioned = 1: added to `position`
// token      u32 [R], written;  logprob  f32 [R], written
// topK = 0 and topP = 1 keep everything.
// Follows random.wgsl. Any rows, V < 2²⁴. Workgroup `lanes` (a power of two); grid: one workgroup a row of the tile, folded into x
// and y; it owns the row of every output. The last id kept is found exactly, by building the bits of its rank key from the top:
// 33 passes over the row for each of top-k and top-p, and 24 more where the cut falls among equal z.

struct Params {
  rows: u32, V: u32, firstRow: u32, topK: u32, topP: f32,
  positioned: u32, position: u32, step: u32, seed: u32, stage: u32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tile: array<f32>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> token: array<u32>;
@group(0) @binding(5) var<storage, read_write> logprob: array<f32>;

override lanes: u32 = 256;
const lowest = -3.4028234e38f;
const nobody = 4294967295u;

var<workgroup> sums: array<f32, 256>;
var<workgroup> winners: array<u32, 256>;

/** The sum of every lane's value, in a fixed tree. */
fn total(lane: u32, value: f32) -> f32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&sums[0]);
}

/** Unsigned numbers in the order of the floats. */
fn rank(z: f32) -> u32 {
  let bits = select(bitcast<u32>(z), 0u, z == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn valueOf(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

/** What is kept: keys above `key`, and equal ones with ids below `end`. */
struct Cut { key: u32, end: u32 }

fn keeps(cut: Cut, key: u32, id: u32) -> bool {
  return key > cut.key || (key == cut.key && id < cut.end);
}

/** Ids kept, or their probability times Σ exp(z − top), over the keys from `key`. */
fn weightFrom(lane: u32, base: u32, cut: Cut, key: u32, top: f32, byMass: bool) -> f32 {
  var weight = 0.0;
  for (var id = lane; id < params.V; id += lanes) {
    let z = tile[base + id];
    let own = rank(z);
    if (own >= key && keeps(cut, own, id)) {
      weight += select(1.0, exp(z - top), byMass);
    }
  }
  return total(lane, weight);
}

/** Ids below `end` that are kept and have just this key. */
fn countOf(lane: u32, base: u32, cut: Cut, key: u32, end: u32) -> f32 {
  var count = 0.0;
  for (var id = lane; id < min(end, params.V); id += lanes) {
    if (rank(tile[base + id]) == key && keeps(cut, key, id)) { count += 1.0; }
  }
  return total(lane, count);
}

/** The shortest beginning of what `cut` keeps whose weight reaches `goal`. */
fn shorten(lane: u32, base: u32, cut: Cut, goal: f32, top: f32, byMass: bool) -> Cut {
  var key = 0u;
  // No key is above the top's. Starting at its leading bit also keeps the compiler from unrolling 32 passes.
  for (var bit = 1u << firstLeadingBit(rank(top)); bit > 0u; bit >>= 1u) {
    if (weightFrom(lane, base, cut, key | bit, top, byMass) >= goal) { key |= bit; }
  }
  let above = weightFrom(lane, base, cut, key + 1u, top, byMass);
  let equal = countOf(lane, base, cut, key, params.V);
  let one = select(1.0, exp(valueOf(key) - top), byMass);
  let take = clamp(ceil((goal - above) / one), 1.0, max(equal, 1.0));
  if (take < equal) {
    var id = 0u;
    for (var bit = 1u << firstLeadingBit(params.V); bit > 0u; bit >>= 1u) {
      if (countOf(lane, base, cut, key, id | bit) < take) { id |= bit; }
    }
    return Cut(key, id + 1u);
  }
  if (key == cut.key) { return cut; }
  return Cut(key, params.V);
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let r = params.firstRow + local;
  let base = local * params.V;
  var position = params.position;
  if (params.positioned == 1u) { position += positions[r]; }

  var highest = lowest;
  for (var id = lane; id < params.V; id += lanes) { highest = max(highest, tile[base + id]); }
  sums[lane] = highest;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) { sums[lane] = max(sums[lane], sums[lane + half]); }
    workgroupBarrier();
  }
  let top = workgroupUniformLoad(&sums[0]);

  var cut = Cut(0u, params.V);
  var everything = 0.0;
  for (var stage = 0u; stage < 2u; stage++) {
    let byMass = stage == 1u;
    let kept = weightFrom(lane, base, cut, 0u, top, true);
    if (stage == 0u) { everything = kept; }
    let wanted = select(params.topK > 0u && params.topK < params.V, params.topP < 1.0, byMass);
    if (wanted) {
      cut = shorten(lane, base, cut, select(f32(params.topK), params.topP * kept, byMass), top, byMass);
    }
  }

  var value = lowest;
  var winner = nobody;
  for (var block = lane; block * 4u < params.V; block += lanes) {
    var words = philox(vec4u(block, position, samples[r], params.step), vec2u(params.seed, params.stage));
    for (var k = 0u; k < 4u; k++) {
      let id = block * 4u + k;
      if (id < params.V) {
        let z = tile[base + id];
        let perturbed = z + gumbel(words.x);
        if (perturbed > value && keeps(cut, rank(z), id)) {
          value = perturbed;
          winner = id;
        }
      }
      words = words.yzwx;
    }
  }
  sums[lane] = value;
  winners[lane] = winner;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) {
      let other = sums[lane + half];
      if (other > sums[lane] || (other == sums[lane] && winners[lane + half] < winners[lane])) {
        sums[lane] = other;
        winners[lane] = winners[lane + half];
      }
    }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }
  // A row of NaN has no winner; it answers with id 0 and a logprob that is NaN.
  let best = select(winners[0], 0u, winners[0] == nobody);
  token[r] = best;
  logprob[r] = tile[base + best] - top - log(everything);
}
