// o[t, h] = Σ_j p[t, j]·v[j, g],   p[t, ·] = softmax_j(scale·q[t, h]·k[j, g]),   lse[t, h] = ln Σ_j exp(scale·q[t, h]·k[j, g])
// over the keys j ≤ t of t's own sequence; key head g = h / (Hq / Hkv). Scores live in registers only (arXiv 2307.08691).
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile
// o      f32 [T, Hq·hd], written; the rows of a tile and head belong to one workgroup, each to one invocation
// lse    f32 [T, Hq], written; kept for the gradient
// hd = 4·hd4, at most 128. Workgroup `rows`; grid: tiles in x, Hq in y.
// 4·hd FLOPs and an exponential for each pair of a query and a key it sees. The invocations of a group walk over the keys together:
// every load of k and v is the same for all of them.

const block = 4u; // keys between two rescalings of the sums

override hd4: u32 = 4;
override rows: u32 = 32;

struct Params { Hq: u32, Hkv: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(rows)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let head = group.y;
  let keyHead = head / (params.Hq / params.Hkv);
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = min(tile.y, tile.z + rows);
  let row = min(tile.z + lane, end - 1u);

  var q: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  for (var i = 0u; i < hd4; i++) {
    q[i] = qkv[row * stride + head * hd4 + i] * (params.scale * 1.4426950408889634);
    sum[i] = vec4f();
  }
  var highest = -1e30; // in powers of two
  var weight = 0.0;
  for (var key = tile.x; key < end; key += block) {
    var s = vec4f();
    let at0 = key * stride;
    let at1 = min(key + 1u, end - 1u) * stride;
    let at2 = min(key + 2u, end - 1u) * stride;
    let at3 = min(key + 3u, end - 1u) * stride;
    for (var i = 0u; i < hd4; i++) {
      s += vec4f(
        dot(q[i], qkv[at0 + keyColumn + i]),
        dot(q[i], qkv[at1 + keyColumn + i]),
        dot(q[i], qkv[at2 + keyColumn + i]),
        dot(q[i], qkv[at3 + keyColumn + i]),
      );
    }
    s = select(vec4f(-1e30), s, vec4u(key) + vec4u(0u, 1u, 2u, 3u) <= vec4u(row));
    let before = highest;
    highest = max(max(max(s.x, s.y), max(s.z, s.w)), highest);
    let shrink = exp2(before - highest);
    let p = exp2(s - highest);
    weight = weight * shrink + ((p.x + p.y) + (p.z + p.w));
    for (var i = 0u; i < hd4; i++) {
      sum[i] = sum[i] * shrink + p.x * qkv[at0 + valueColumn + i] + p.y * qkv[at1 + valueColumn + i] +
        p.z * qkv[at2 + valueColumn + i] + p.w * qkv[at3 + valueColumn + i];
    }
  }
  if (tile.z + lane >= end) { return; }
  let inverse = 1.0 / weight;
  for (var i = 0u; i < hd4; i++) {
    o[(row * params.Hq + head) * hd4 + i] = sum[i] * inverse;
  }
  lse[row * params.Hq + head] = (highest + log2(weight)) * 0.6931471805599453;
}
