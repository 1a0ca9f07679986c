// dv[j, g] = Σ_h Σ_t p[t, j]·do[t, h],   dk[j, g] = scale·Σ_h Σ_t ds[t, j]·q[t, h],
// p[t, j] = exp(scale·q[t, h]·k[j, g] − lse[t, h]),   ds[t, j] = p[t, j]·(do[t, h]·v[j, g] − delta[t, h]),
// over the query heads h that share key head g, and the queries t ≥ j of j's own sequence. Adds to dk and dv if accumulate.
//
// qkv         f32 [T, (Hq + 2·Hkv)·hd], read
// tiles       u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile
// dy          f32 [T, Hq·hd], read: the gradient of the output, `do` above
// lse, delta  f32 [T, Hq], read
// dqkv        f32 as qkv, read and written: the columns of k and v only; the rows of a tile and key head belong to one workgroup
// hd = 4·hd4, at most 128. Workgroup `rows`; grid: tiles in x, Hkv in y. 8·hd FLOPs for each pair of a query and a key it sees.

override hd4: u32 = 4;
override rows: u32 = 32;

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>;

@compute @workgroup_size(rows)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let keyHead = group.y;
  let sharers = params.Hq / params.Hkv;
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let row = min(tile.z + lane, tile.y - 1u);

  var k: array<vec4f, 32>;
  var v: array<vec4f, 32>;
  var dk: array<vec4f, 32>;
  var dv: array<vec4f, 32>;
  for (var i = 0u; i < hd4; i++) {
    k[i] = qkv[row * stride + keyColumn + i] * (params.scale * 1.4426950408889634);
    v[i] = qkv[row * stride + valueColumn + i];
    dk[i] = vec4f();
    dv[i] = vec4f();
  }
  for (var head = keyHead * sharers; head < (keyHead + 1u) * sharers; head++) {
    for (var query = tile.z; query < tile.y; query++) {
      let qAt = query * stride + head * hd4;
      let yAt = (query * params.Hq + head) * hd4;
      var s = vec4f();
      var dp = vec4f();
      for (var i = 0u; i < hd4; i++) {
        s += k[i] * qkv[qAt + i];
        dp += v[i] * dy[yAt + i];
      }
      let score = (s.x + s.y) + (s.z + s.w);
      let norm = lse[query * params.Hq + head] * 1.4426950408889634;
      let p = select(0.0, exp2(score - norm), query >= row);
      let ds = p * ((dp.x + dp.y) + (dp.z + dp.w) - delta[query * params.Hq + head]);
      for (var i = 0u; i < hd4; i++) {
        dv[i] += p * dy[yAt + i];
        dk[i] += ds * qkv[qAt + i];
      }
    }
  }
  if (tile.z + lane >= tile.y) { return; }
  for (var i = 0u; i < hd4; i++) {
    let keyAt = row * stride + keyColumn + i;
    let valueAt = row * stride + valueColumn + i;
    dqkv[keyAt] = dk[i] * params.scale + select(vec4f(), dqkv[keyAt], params.accumulate == 1u);
    dqkv[valueAt] = dv[i] + select(vec4f(), dqkv[valueAt], params.accumulate == 1u);
  }
}
