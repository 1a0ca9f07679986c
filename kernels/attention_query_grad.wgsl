// delta[t, h] = Σ_d do[t, h, d]·o[t, h, d]
// dq[t, h]    = scale·Σ_j ds[t, j]·k[j, g],   ds[t, j] = p[t, j]·(do[t, h]·v[j, g] − delta[t, h]),
// p[t, j] = exp(scale·q[t, h]·k[j, g] − lse[t, h]), over the keys j ≤ t of t's own sequence; g = h / (Hq / Hkv).
// Adds to dq if accumulate.
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile of 64
// o, dy  f32 [T, Hq·hd], read: the output and its gradient, `do` above
// lse    f32 [T, Hq], read
// delta  f32 [T, Hq], written; for the gradient of keys and values, which comes next
// dqkv   f32 as qkv, read and written: the columns of q only; the rows of a tile and head belong to one workgroup
// hd = 4·hd4 (a constant put before this text), at most 128. Workgroup 128 = 16 × 8; grid: tiles in x, Hq in y. Deterministic.
// Ownership as in attention.wgsl: 4 × 4 scores of 64 queries and 32 keys, 4 rows × columns vec4s of the gradient. Workgroup memory 13.8 KiB.
// 6·hd FLOPs for each pair of a query and a key (of whole tiles); 13.7 FLOPs for each byte read from caches.
// Unrolled by unroll.ts: columns = ⌈hd4 / 8⌉.

const queries = 64u;
const keys = 32u;
const across = 9u; // vec4s from one row of a tile to the next: 8, and one more, so that neighbours lie in other banks

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> o: array<vec4f>;
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read_write> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4f>;

var<workgroup> tall: array<vec4f, queries * across>; // of q, then of do; then ds: vec4 x of a row holds keys x, x + 8, x + 16 and x + 24
var<workgroup> flat: array<vec4f, keys * across>; // of k, then of v, then of k again
var<workgroup> deltas: array<f32, queries>;

/// vec4s `column`… of the rows from `first` into `tall`; rows from `end` on count as zero.
fn bringQueries(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < queries; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = qkv[(first + r) * stride + column + x]; }
    tall[r * across + x] = value;
  }
}

/// The same of the output's gradient.
fn bringOutputs(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < queries; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = dy[(first + r) * stride + column + x]; }
    tall[r * across + x] = value;
  }
}

/// The same of keys or values, into `flat`.
fn bringKeys(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < keys; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = qkv[(first + r) * stride + column + x]; }
    flat[r * across + x] = value;
  }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let head = group.y;
  let keyHead = head / (params.Hq / params.Hkv);
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let outStride = params.Hq * hd4;
  let headColumn = head * hd4; // of q in qkv, and of the head in dy
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = min(tile.y, tile.z + queries);
  let x = lane & 7u; // owns keys x + 8·i, and vec4s x + 8·c of the gradient
  let y = lane >> 3u; // of rows y + 16·r
  let factor = params.scale * 1.4426950408889634;

  if (lane < queries) {
    let row = min(tile.z + lane, end - 1u);
    var products = vec4f();
    for (var i = 0u; i < hd4; i++) {
      let at = row * outStride + headColumn + i;
      products = fma(dy[at], o[at], products);
    }
    let d = (products.x + products.y) + (products.z + products.w);
    deltas[lane] = d;
    if (tile.z + lane < end) { delta[row * params.Hq + head] = d; }
  }
  workgroupBarrier();
  #for r in 4
  let row$r = tile.z + y + 16u * $ru;
  let delta$r = deltas[y + 16u * $ru];
  let norm$r = lse[min(row$r, end - 1u) * params.Hq + head] * 1.4426950408889634;
  #for c in columns
  var sum$r_$c = vec4f();
  #end
  #end
  for (var key = tile.x; key < end; key += keys) {
    #for r in 4
    var s$r = vec4f();
    var dp$r = vec4f();
    #end
    for (var chunk = 0u; chunk < hd4; chunk += 8u) {
      let count = min(8u, hd4 - chunk);
      workgroupBarrier();
      bringQueries(lane, tile.z, end, stride, headColumn + chunk, count);
      bringKeys(lane, key, end, stride, keyColumn + chunk, count);
      workgroupBarrier();
      for (var i = 0u; i < count; i++) {
        let k = transpose(mat4x4f(
          flat[x * across + i],
          flat[(x + 8u) * across + i],
          flat[(x + 16u) * across + i],
          flat[(x + 24u) * across + i],
        ));
        #for r in 4
        let q$r = tall[(y + 16u * $ru) * across + i];
        s$r = fma(vec4f(q$r.x), k[0], s$r);
        s$r = fma(vec4f(q$r.y), k[1], s$r);
        s$r = fma(vec4f(q$r.z), k[2], s$r);
        s$r = fma(vec4f(q$r.w), k[3], s$r);
        #end
      }
      workgroupBarrier();
      bringOutputs(lane, tile.z, end, outStride, headColumn + chunk, count);
      bringKeys(lane, key, end, stride, valueColumn + chunk, count);
      workgroupBarrier();
      for (var i = 0u; i < count; i++) {
        let v = transpose(mat4x4f(
          flat[x * across + i],
          flat[(x + 8u) * across + i],
          flat[(x + 16u) * across + i],
          flat[(x + 24u) * across + i],
        ));
        #for r in 4
        let g$r = tall[(y + 16u * $ru) * across + i];
        dp$r = fma(vec4f(g$r.x), v[0], dp$r);
        dp$r = fma(vec4f(g$r.y), v[1], dp$r);
        dp$r = fma(vec4f(g$r.z), v[2], dp$r);
        dp$r = fma(vec4f(g$r.w), v[3], dp$r);
        #end
      }
    }
    workgroupBarrier();
    let mine = vec4u(key + x) + vec4u(0u, 8u, 16u, 24u);
    #for r in 4
    let p$r = select(vec4f(), exp2(s$r * factor - norm$r), mine <= vec4u(row$r));
    tall[(y + 16u * $ru) * across + x] = p$r * (dp$r - delta$r);
    #end
    #for c in columns
    bringKeys(lane, key, end, stride, keyColumn + 8u * $cu, min(8u, hd4 - 8u * $cu));
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
      let k0 = flat[i * across + x];
      let k1 = flat[(i + 8u) * across + x];
      let k2 = flat[(i + 16u) * across + x];
      let k3 = flat[(i + 24u) * across + x];
      #for r in 4
      let ds$r = tall[(y + 16u * $ru) * across + i];
      sum$r_$c = fma(vec4f(ds$r.x), k0, sum$r_$c);
      sum$r_$c = fma(vec4f(ds$r.y), k1, sum$r_$c);
      sum$r_$c = fma(vec4f(ds$r.z), k2, sum$r_$c);
      sum$r_$c = fma(vec4f(ds$r.w), k3, sum$r_$c);
      #end
    }
    workgroupBarrier();
    #end
  }

  let adding = params.accumulate == 1u;
  #for r in 4
  if (row$r < end) {
    #for c in columns
    if (x + 8u * $cu < hd4) {
      let at = row$r * stride + headColumn + x + 8u * $cu;
      dqkv[at] = sum$r_$c * params.scale + select(vec4f(), dqkv[at], adding);
    }
    #end
  }
  #end
}
