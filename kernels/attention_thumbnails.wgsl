// thumbnails[h, y, x] = the largest of p[i, j] over the tokens i of cell y and j of cell x, where p[i, ·] = softmax_j(scale·q[i, h]·k[j, g])
// over j ≤ i in one sequence, and token t is in cell ⌊t·edge / T⌋
//
// qkv         f32 [≥ first + T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v; hd = 4·hd4; g = h / (Hq / Hkv)
// thumbnails  f32 [Hq, edge, edge], written, and read where skip > 0; row y of head h belongs to one workgroup, cell x to its lane x
// Of each cell's tokens i only the skip-th to the (skip + take)-th; the others' largest is what `thumbnails` holds where skip > 0.
// T ≥ edge, edge ≤ 64. Workgroup 64; grid: edge in x, Hq in y. As the exponential rises, the largest probability of a row's cell is that of its
// largest score, so a row needs one pass and no memory. Sums go over keys in order, then over lanes. hd·T·T FLOPs a head.

struct Params { T: u32, first: u32, edge: u32, Hq: u32, Hkv: u32, hd4: u32, skip: u32, take: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> thumbnails: array<f32>;

const lowest = -3.4028234e38f;

var<workgroup> tops: array<f32, 64>;
var<workgroup> weights: array<f32, 64>;

/// The first token of a cell.
fn start(cell: u32) -> u32 { return (cell * params.T + params.edge - 1u) / params.edge; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = group.y;
  let stride = (params.Hq + 2u * params.Hkv) * params.hd4;
  let queries = params.first * stride + head * params.hd4;
  let keys = params.first * stride + (params.Hq + head / (params.Hq / params.Hkv)) * params.hd4;
  let first = start(group.x) + params.skip;
  let end = min(start(group.x + 1u), first + params.take);
  let at = (head * params.edge + group.x) * params.edge + lane;
  var largest = 0.0;
  if (params.skip > 0u && lane < params.edge) { largest = thumbnails[at]; }
  for (var i = first; i < end; i++) {
    // Of this lane's keys: the highest score, and Σ exp(score − highest).
    var top = lowest;
    var weight = 0.0;
    if (lane < params.edge) {
      let last = min(start(lane + 1u), i + 1u);
      for (var j = start(lane); j < last; j++) {
        var score = 0.0;
        for (var d = 0u; d < params.hd4; d++) {
          score += dot(qkv[queries + i * stride + d], qkv[keys + j * stride + d]);
        }
        score *= params.scale;
        let before = top;
        top = max(top, score);
        weight = weight * exp(before - top) + exp(score - top);
      }
    }
    tops[lane] = top;
    weights[lane] = weight;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
      if (lane < half) {
        let a = tops[lane];
        let b = tops[lane + half];
        let both = max(a, b);
        weights[lane] = weights[lane] * exp(a - both) + weights[lane + half] * exp(b - both);
        tops[lane] = both;
      }
      workgroupBarrier();
    }
    if (weight > 0.0) { largest = max(largest, exp(top - tops[0]) / weights[0]); }
    workgroupBarrier();
  }
  if (lane < params.edge) { thumbnails[at] = largest; }
}
