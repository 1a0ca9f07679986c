// attention.wgsl for CPUs posing as GPUs: the same contract, other ownership. There a load costs more than the arithmetic on it, so
// an invocation owns four queries of one head, as the four components of its vectors, and uses every k and v four times.
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile; tiles of 4·quads rows
// o      f32 [T, Hq·hd], written
// lse    f32 [T, Hq], written; kept for the gradient
// hd = 4·hd4, at most 128. Workgroup sharers·quads, sharers = Hq / Hkv; grid: tiles in x, Hkv in y. The heads that share keys are
// neighbours in a workgroup, so that all its loads of k and v are the same. No workgroup memory.

override sharers: u32 = 1;
override quads: u32 = 4;
override invocations: u32 = 4; // sharers·quads

struct Params { Hq: u32, Hkv: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let keyHead = group.y;
  let head = keyHead * sharers + lane % sharers;
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = min(tile.y, tile.z + 4u * quads);
  let first = tile.z + 4u * (lane / sharers);
  let row = min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(end - 1u));

  var q: array<vec4f, 4 * hd4>; // by channel; component r is query r
  var sum: array<vec4f, 4 * hd4>;
  let factor = params.scale * 1.4426950408889634;
  for (var i = 0u; i < hd4; i++) {
    let a = qkv[row.x * stride + head * hd4 + i] * factor;
    let b = qkv[row.y * stride + head * hd4 + i] * factor;
    let c = qkv[row.z * stride + head * hd4 + i] * factor;
    let d = qkv[row.w * stride + head * hd4 + i] * factor;
    q[4u * i] = vec4f(a.x, b.x, c.x, d.x);
    q[4u * i + 1u] = vec4f(a.y, b.y, c.y, d.y);
    q[4u * i + 2u] = vec4f(a.z, b.z, c.z, d.z);
    q[4u * i + 3u] = vec4f(a.w, b.w, c.w, d.w);
  }
  var highest = vec4f(-1e30);
  var weight = vec4f();
  for (var key = tile.x; key < end; key += 2u) {
    let at = key * stride;
    let next = min(key + 1u, end - 1u) * stride;
    var s = vec4f();
    var s2 = vec4f();
    for (var i = 0u; i < hd4; i++) {
      let k = qkv[at + keyColumn + i];
      let k2 = qkv[next + keyColumn + i];
      s += q[4u * i] * k.x + q[4u * i + 1u] * k.y + q[4u * i + 2u] * k.z + q[4u * i + 3u] * k.w;
      s2 += q[4u * i] * k2.x + q[4u * i + 1u] * k2.y + q[4u * i + 2u] * k2.z + q[4u * i + 3u] * k2.w;
    }
    s = select(vec4f(-1e30), s, vec4u(key) <= row);
    s2 = select(vec4f(-1e30), s2, vec4u(key + 1u) <= row);
    let before = highest;
    highest = max(max(s, s2), highest);
    let shrink = exp2(before - highest);
    let p = exp2(s - highest);
    let p2 = exp2(s2 - highest);
    weight = weight * shrink + (p + p2);
    for (var i = 0u; i < hd4; i++) {
      let v = qkv[at + valueColumn + i];
      let v2 = qkv[next + valueColumn + i];
      sum[4u * i] = sum[4u * i] * shrink + (p * v.x + p2 * v2.x);
      sum[4u * i + 1u] = sum[4u * i + 1u] * shrink + (p * v.y + p2 * v2.y);
      sum[4u * i + 2u] = sum[4u * i + 2u] * shrink + (p * v.z + p2 * v2.z);
      sum[4u * i + 3u] = sum[4u * i + 3u] * shrink + (p * v.w + p2 * v2.w);
    }
  }
  let inverse = 1.0 / weight;
  let norm = (highest + log2(weight)) * 0.6931471805599453;
  let at = (vec4u(first) + vec4u(0u, 1u, 2u, 3u)) * params.Hq + vec4u(head);
  let valid = end - min(first, end);
  for (var i = 0u; i < hd4; i++) {
    let a = sum[4u * i] * inverse;
    let b = sum[4u * i + 1u] * inverse;
    let c = sum[4u * i + 2u] * inverse;
    let d = sum[4u * i + 3u] * inverse;
    if (valid > 0u) { o[at.x * hd4 + i] = vec4f(a.x, b.x, c.x, d.x); }
    if (valid > 1u) { o[at.y * hd4 + i] = vec4f(a.y, b.y, c.y, d.y); }
    if (valid > 2u) { o[at.z * hd4 + i] = vec4f(a.z, b.z, c.z, d.z); }
    if (valid > 3u) { o[at.w * hd4 + i] = vec4f(a.w, b.w, c.w, d.w); }
  }
  if (valid > 0u) { lse[at.x] = norm.x; }
  if (valid > 1u) { lse[at.y] = norm.y; }
  if (valid > 2u) { lse[at.z] = norm.z; }
  if (valid > 3u) { lse[at.w] = norm.w; }
}
