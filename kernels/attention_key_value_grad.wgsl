// dv[j, g] = Σ_h Σ_t p[t, j]·do[t, h],   dk[j, g] = scale·Σ_h Σ_t ds[t, j]·q[t, h],
// p[t, j] = exp(scale·q[t, h]·k[j, g] − lse[t, h]),   ds[t, j] = p[t, j]·(do[t, h]·v[j, g] − delta[t, h]),
// over the query heads h that share key head g, and the queries t ≥ j of j's own sequence. Adds to dk and dv if accumulate.
//
// qkv         f32 [T, (Hq + 2·Hkv)·hd], read
// tiles       u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile of 64
// dy          f32 [T, Hq·hd], read: the gradient of the output, `do` above
// lse, delta  f32 [T, Hq], read
// dqkv        f32 as qkv, read and written: the columns of k and v only; the rows of a tile and key head belong to one workgroup
// hd = 4·hd4 (a constant put before this text), at most 128. Workgroup 128 = 16 × 8; grid: tiles in x, Hkv in y. Deterministic.
// Queries go by 32, for one head after the other. Of their scores with the 64 keys an invocation owns 4 × 4, of each gradient 4 rows × columns
// vec4s. Workgroup memory 13.5 KiB. 8·hd FLOPs for each pair of a query and a key (of whole tiles); 16 FLOPs for each byte read from caches.
// Unrolled by unroll.ts: columns = ⌈hd4 / 8⌉.

const keys = 64u;
const queries = 32u;
const across = 9u; // vec4s from one row of a tile to the next: 8, and one more, so that neighbours lie in other banks

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>;

var<workgroup> tall: array<vec4f, keys * across>; // of k, then of v; then p, then ds: vec4 x of a row holds queries x, x + 8, x + 16 and x + 24
var<workgroup> flat: array<vec4f, queries * across>; // of q, then of do

/// vec4s `column`… of the rows from `first` into `tall`; rows from `end` on count as zero.
fn bringKeys(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < keys; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = qkv[(first + r) * stride + column + x]; }
    tall[r * across + x] = value;
  }
}

/// The same of queries, into `flat`.
fn bringQueries(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < queries; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = qkv[(first + r) * stride + column + x]; }
    flat[r * across + x] = value;
  }
}

/// The same of the output's gradient.
fn bringOutputs(lane: u32, first: u32, end: u32, stride: u32, column: u32, count: u32) {
  let x = lane & 7u;
  for (var r = lane >> 3u; r < queries; r += 16u) {
    var value = vec4f();
    if (first + r < end && x < count) { value = dy[(first + r) * stride + column + x]; }
    flat[r * across + x] = value;
  }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let keyHead = group.y;
  let sharers = params.Hq / params.Hkv;
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let outStride = params.Hq * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = tile.y;
  let x = lane & 7u; // owns queries x + 8·i, and vec4s x + 8·c of the gradients
  let y = lane >> 3u; // of keys y + 16·r
  let factor = params.scale * 1.4426950408889634;

  #for r in 4
  let row$r = tile.z + y + 16u * $ru;
  #for c in columns
  var dk$r_$c = vec4f();
  var dv$r_$c = vec4f();
  #end
  #end
  for (var head = keyHead * sharers; head < (keyHead + 1u) * sharers; head++) {
    let headColumn = head * hd4; // of q in qkv, and of the head in dy
    for (var query = tile.z; query < end; query += queries) {
      #for r in 4
      var s$r = vec4f();
      var dp$r = vec4f();
      #end
      for (var chunk = 0u; chunk < hd4; chunk += 8u) {
        let count = min(8u, hd4 - chunk);
        workgroupBarrier();
        bringKeys(lane, tile.z, end, stride, keyColumn + chunk, count);
        bringQueries(lane, query, end, stride, headColumn + chunk, count);
        workgroupBarrier();
        for (var i = 0u; i < count; i++) {
          let q = transpose(mat4x4f(
            flat[x * across + i],
            flat[(x + 8u) * across + i],
            flat[(x + 16u) * across + i],
            flat[(x + 24u) * across + i],
          ));
          #for r in 4
          let k$r = tall[(y + 16u * $ru) * across + i];
          s$r = fma(vec4f(k$r.x), q[0], s$r);
          s$r = fma(vec4f(k$r.y), q[1], s$r);
          s$r = fma(vec4f(k$r.z), q[2], s$r);
          s$r = fma(vec4f(k$r.w), q[3], s$r);
          #end
        }
        workgroupBarrier();
        bringKeys(lane, tile.z, end, stride, valueColumn + chunk, count);
        bringOutputs(lane, query, end, outStride, headColumn + chunk, count);
        workgroupBarrier();
        for (var i = 0u; i < count; i++) {
          let g = transpose(mat4x4f(
            flat[x * across + i],
            flat[(x + 8u) * across + i],
            flat[(x + 16u) * across + i],
            flat[(x + 24u) * across + i],
          ));
          #for r in 4
          let v$r = tall[(y + 16u * $ru) * across + i];
          dp$r = fma(vec4f(v$r.x), g[0], dp$r);
          dp$r = fma(vec4f(v$r.y), g[1], dp$r);
          dp$r = fma(vec4f(v$r.z), g[2], dp$r);
          dp$r = fma(vec4f(v$r.w), g[3], dp$r);
          #end
        }
      }
      workgroupBarrier();
      let mine = vec4u(query + x) + vec4u(0u, 8u, 16u, 24u);
      let at = min(mine, vec4u(end - 1u)) * params.Hq + head;
      let norm = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]) * 1.4426950408889634;
      let less = vec4f(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
      let inside = mine < vec4u(end);
      #for r in 4
      let p$r = select(vec4f(), exp2(s$r * factor - norm), inside & (mine >= vec4u(row$r)));
      tall[(y + 16u * $ru) * across + x] = p$r;
      #end
      #for c in columns
      bringOutputs(lane, query, end, outStride, headColumn + 8u * $cu, min(8u, hd4 - 8u * $cu));
      workgroupBarrier();
      for (var i = 0u; i < 8u; i++) {
        let g0 = flat[i * across + x];
        let g1 = flat[(i + 8u) * across + x];
        let g2 = flat[(i + 16u) * across + x];
        let g3 = flat[(i + 24u) * across + x];
        #for r in 4
        let w$r = tall[(y + 16u * $ru) * across + i];
        dv$r_$c = fma(vec4f(w$r.x), g0, dv$r_$c);
        dv$r_$c = fma(vec4f(w$r.y), g1, dv$r_$c);
        dv$r_$c = fma(vec4f(w$r.z), g2, dv$r_$c);
        dv$r_$c = fma(vec4f(w$r.w), g3, dv$r_$c);
        #end
      }
      workgroupBarrier();
      #end
      #for r in 4
      tall[(y + 16u * $ru) * across + x] = p$r * (dp$r - less);
      #end
      #for c in columns
      bringQueries(lane, query, end, stride, headColumn + 8u * $cu, min(8u, hd4 - 8u * $cu));
      workgroupBarrier();
      for (var i = 0u; i < 8u; i++) {
        let q0 = flat[i * across + x];
        let q1 = flat[(i + 8u) * across + x];
        let q2 = flat[(i + 16u) * across + x];
        let q3 = flat[(i + 24u) * across + x];
        #for r in 4
        let ds$r = tall[(y + 16u * $ru) * across + i];
        dk$r_$c = fma(vec4f(ds$r.x), q0, dk$r_$c);
        dk$r_$c = fma(vec4f(ds$r.y), q1, dk$r_$c);
        dk$r_$c = fma(vec4f(ds$r.z), q2, dk$r_$c);
        dk$r_$c = fma(vec4f(ds$r.w), q3, dk$r_$c);
        #end
      }
      workgroupBarrier();
      #end
    }
  }

  let adding = params.accumulate == 1u;
  #for r in 4
  if (row$r < end) {
    #for c in columns
    if (x + 8u * $cu < hd4) {
      let keyAt = row$r * stride + keyColumn + x + 8u * $cu;
      let valueAt = row$r * stride + valueColumn + x + 8u * $cu;
      dqkv[keyAt] = dk$r_$c * params.scale + select(vec4f(), dqkv[keyAt], adding);
      dqkv[valueAt] = dv$r_$c + select(vec4f(), dqkv[valueAt], adding);
    }
    #end
  }
  #end
}
