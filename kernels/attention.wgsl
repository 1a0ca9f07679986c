// o[t, h] = Σ_j p[t, j]·v[j, g],   p[t, ·] = softmax_j(scale·q[t, h]·k[j, g]),   lse[t, h] = ln Σ_j exp(scale·q[t, h]·k[j, g])
// over the keys j ≤ t of t's own sequence; key head g = h / (Hq / Hkv). Scores live on chip only (FlashAttention-2, arXiv 2307.08691).
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile of 64
// o      f32 [T, Hq·hd], written; the rows of a tile and head belong to one workgroup
// lse    f32 [T, Hq], written; kept for the gradient
// hd = 4·hd4 (a constant put before this text), at most 128. Workgroup 128 = 16 × 8; grid: tiles in x, Hq in y. Deterministic.
// Keys go by 32. Of their scores with the 64 queries an invocation owns 4 × 4, of the result 4 rows × columns vec4s; operands come through
// workgroup memory (15.5 KiB), 8 vec4s of every row at a time. 4·hd FLOPs for each pair of a query and a key (of whole tiles), and an
// exponential; 16 FLOPs for each byte read from caches, 8 FMAs for each vec4 read from workgroup memory.
// Unrolled by unroll.ts: columns = ⌈hd4 / 8⌉.

const queries = 64u;
const keys = 32u;
const across = 9u; // vec4s from one row of a tile to the next: 8, and one more, so that neighbours lie in other banks

struct Params { Hq: u32, Hkv: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

var<workgroup> tall: array<vec4f, queries * across>; // of q; then p: vec4 x of a row holds keys x, x + 8, x + 16 and x + 24
var<workgroup> flat: array<vec4f, keys * across>; // of k, then of v
var<workgroup> told: array<f32, queries * 8>; // what the 8 invocations of a row tell each other

/// vec4s `column`… of the rows from `first` into `tall`; rows from `end` on count as zero.
fn bringQueries(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < queries; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = qkv[(first + r) * stride + column + x]; }
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
  let queryColumn = head * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = min(tile.y, tile.z + queries);
  let x = lane & 7u; // owns keys x + 8·i, and vec4s x + 8·c of the result
  let y = lane >> 3u; // of rows y + 16·r
  let factor = params.scale * 1.4426950408889634;

  #for r in 4
  var highest$r = -1e30; // in powers of two
  var weight$r = 0.0; // of this invocation's keys
  #for c in columns
  var sum$r_$c = vec4f();
  #end
  #end
  for (var key = tile.x; key < end; key += keys) {
    #for r in 4
    var s$r = vec4f();
    #end
    for (var chunk = 0u; chunk < hd4; chunk += 8u) {
      let count = min(8u, hd4 - chunk);
      workgroupBarrier();
      bringQueries(lane, tile.z, end, stride, queryColumn + chunk, count);
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
    }
    let mine = vec4u(key + x) + vec4u(0u, 8u, 16u, 24u);
    #for r in 4
    s$r = select(vec4f(-1e30), s$r * factor, mine <= vec4u(tile.z + y + 16u * $ru));
    told[(y + 16u * $ru) * 8u + x] = max(max(s$r.x, s$r.y), max(s$r.z, s$r.w));
    #end
    workgroupBarrier();
    #for r in 4
    let before$r = highest$r;
    for (var i = 0u; i < 8u; i++) { highest$r = max(highest$r, told[(y + 16u * $ru) * 8u + i]); }
    let shrink$r = exp2(before$r - highest$r);
    let p$r = exp2(s$r - highest$r);
    weight$r = weight$r * shrink$r + ((p$r.x + p$r.y) + (p$r.z + p$r.w));
    tall[(y + 16u * $ru) * across + x] = p$r;
    #for c in columns
    sum$r_$c *= shrink$r;
    #end
    #end
    #for c in columns
    bringKeys(lane, key, end, stride, valueColumn + 8u * $cu, min(8u, hd4 - 8u * $cu));
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
      let v0 = flat[i * across + x];
      let v1 = flat[(i + 8u) * across + x];
      let v2 = flat[(i + 16u) * across + x];
      let v3 = flat[(i + 24u) * across + x];
      #for r in 4
      let w$r = tall[(y + 16u * $ru) * across + i];
      sum$r_$c = fma(vec4f(w$r.x), v0, sum$r_$c);
      sum$r_$c = fma(vec4f(w$r.y), v1, sum$r_$c);
      sum$r_$c = fma(vec4f(w$r.z), v2, sum$r_$c);
      sum$r_$c = fma(vec4f(w$r.w), v3, sum$r_$c);
      #end
    }
    workgroupBarrier();
    #end
  }

  #for r in 4
  told[(y + 16u * $ru) * 8u + x] = weight$r;
  #end
  workgroupBarrier();
  #for r in 4
  {
    let row = tile.z + y + 16u * $ru;
    var weight = 0.0;
    for (var i = 0u; i < 8u; i++) { weight += told[(y + 16u * $ru) * 8u + i]; }
    if (row < end) {
      #for c in columns
      if (x + 8u * $cu < hd4) { o[(row * params.Hq + head) * hd4 + x + 8u * $cu] = sum$r_$c * (1.0 / weight); }
      #end
      if (x == 0u) { lse[row * params.Hq + head] = (highest$r + log2(weight)) * 0.6931471805599453; }
    }
  }
  #end
}
