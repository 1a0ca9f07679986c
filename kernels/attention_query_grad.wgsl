// delta[t, h] = Σ_d do[t, h, d]·o[t, h, d]
// dq[t, h]    = scale·Σ_j ds[t, j]·k[j, g],   ds[t, j] = p[t, j]·(do[t, h]·v[j, g] − delta[t, h]),
// p[t, j] = exp(scale·q[t, h]·k[j, g] − lse[t, h]), over the keys j ≤ t of t's own sequence; g = h / (Hq / Hkv).
// Adds to dq if accumulate.
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile
// o, dy  f32 [T, Hq·hd], read: the output and its gradient, `do` above
// lse    f32 [T, Hq], read
// delta  f32 [T, Hq], written; for the gradient of keys and values, which comes next
// dqkv   f32 as qkv, read and written: the columns of q only; the rows of a tile and head belong to one workgroup
// hd = 4·hd4, at most 128. Workgroup `rows`; grid: tiles in x, Hq in y. 6·hd FLOPs for each pair of a query and a key it sees.

override hd4: u32 = 4;
override rows: u32 = 32;

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> o: array<vec4f>;
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read_write> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4f>;

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
  var g: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  var products = vec4f();
  for (var i = 0u; i < hd4; i++) {
    let at = (row * params.Hq + head) * hd4 + i;
    q[i] = qkv[row * stride + head * hd4 + i] * (params.scale * 1.4426950408889634);
    g[i] = dy[at];
    products += g[i] * o[at];
    sum[i] = vec4f();
  }
  let d = (products.x + products.y) + (products.z + products.w);
  let norm = lse[row * params.Hq + head] * 1.4426950408889634;
  for (var key = tile.x; key < end; key++) {
    var s = vec4f();
    var dp = vec4f();
    for (var i = 0u; i < hd4; i++) {
      s += q[i] * qkv[key * stride + keyColumn + i];
      dp += g[i] * qkv[key * stride + valueColumn + i];
    }
    let score = (s.x + s.y) + (s.z + s.w);
    let p = select(0.0, exp2(score - norm), key <= row);
    let ds = p * ((dp.x + dp.y) + (dp.z + dp.w) - d);
    for (var i = 0u; i < hd4; i++) {
      sum[i] += ds * qkv[key * stride + keyColumn + i];
    }
  }
  if (tile.z + lane >= end) { return; }
  delta[row * params.Hq + head] = d;
  for (var i = 0u; i < hd4; i++) {
    let at = row * stride + head * hd4 + i;
    dqkv[at] = sum[i] * params.scale + select(vec4f(), dqkv[at], params.accumulate == 1u);
  }
}
