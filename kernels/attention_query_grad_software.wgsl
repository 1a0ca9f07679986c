// attention_query_grad.wgsl for CPUs posing as GPUs: the same contract, and ownership as in attention_software.wgsl.
//
// qkv    f32 [T, (Hq + 2·Hkv)·hd], read
// tiles  u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile; tiles of 4·quads rows
// o, dy  f32 [T, Hq·hd], read
// lse    f32 [T, Hq], read
// delta  f32 [T, Hq], written
// dqkv   f32 as qkv, read and written: the columns of q only
// hd = 4·hd4, at most 128. Workgroup sharers·quads; grid: tiles in x, Hkv in y. No workgroup memory.

override sharers: u32 = 1;
override quads: u32 = 4;
override invocations: u32 = 4; // sharers·quads

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> o: array<vec4f>;
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read_write> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4f>;

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
  var g: array<vec4f, 4 * hd4>;
  var sum: array<vec4f, 4 * hd4>;
  let factor = params.scale * 1.4426950408889634;
  var d = vec4f();
  let at = (row * params.Hq + head) * hd4;
  for (var i = 0u; i < hd4; i++) {
    let a = qkv[row.x * stride + head * hd4 + i] * factor;
    let b = qkv[row.y * stride + head * hd4 + i] * factor;
    let c = qkv[row.z * stride + head * hd4 + i] * factor;
    let e = qkv[row.w * stride + head * hd4 + i] * factor;
    q[4u * i] = vec4f(a.x, b.x, c.x, e.x);
    q[4u * i + 1u] = vec4f(a.y, b.y, c.y, e.y);
    q[4u * i + 2u] = vec4f(a.z, b.z, c.z, e.z);
    q[4u * i + 3u] = vec4f(a.w, b.w, c.w, e.w);
    let ga = dy[at.x + i];
    let gb = dy[at.y + i];
    let gc = dy[at.z + i];
    let ge = dy[at.w + i];
    g[4u * i] = vec4f(ga.x, gb.x, gc.x, ge.x);
    g[4u * i + 1u] = vec4f(ga.y, gb.y, gc.y, ge.y);
    g[4u * i + 2u] = vec4f(ga.z, gb.z, gc.z, ge.z);
    g[4u * i + 3u] = vec4f(ga.w, gb.w, gc.w, ge.w);
    d += vec4f(dot(ga, o[at.x + i]), dot(gb, o[at.y + i]), dot(gc, o[at.z + i]), dot(ge, o[at.w + i]));
  }
  let norm = 1.4426950408889634 * vec4f(
    lse[row.x * params.Hq + head],
    lse[row.y * params.Hq + head],
    lse[row.z * params.Hq + head],
    lse[row.w * params.Hq + head],
  );
  for (var key = tile.x; key < end; key++) {
    let keyAt = key * stride + keyColumn;
    let valueAt = key * stride + valueColumn;
    var s = vec4f();
    var dp = vec4f();
    for (var i = 0u; i < hd4; i++) {
      let k = qkv[keyAt + i];
      let v = qkv[valueAt + i];
      s += q[4u * i] * k.x + q[4u * i + 1u] * k.y + q[4u * i + 2u] * k.z + q[4u * i + 3u] * k.w;
      dp += g[4u * i] * v.x + g[4u * i + 1u] * v.y + g[4u * i + 2u] * v.z + g[4u * i + 3u] * v.w;
    }
    let p = select(vec4f(), exp2(s - norm), vec4u(key) <= row);
    let ds = p * (dp - d);
    for (var i = 0u; i < hd4; i++) {
      let k = qkv[keyAt + i];
      sum[4u * i] += ds * k.x;
      sum[4u * i + 1u] += ds * k.y;
      sum[4u * i + 2u] += ds * k.z;
      sum[4u * i + 3u] += ds * k.w;
    }
  }
  let valid = end - min(first, end);
  let to = (vec4u(first) + vec4u(0u, 1u, 2u, 3u)) * stride + vec4u(head * hd4);
  let adding = params.accumulate == 1u;
  for (var i = 0u; i < hd4; i++) {
    let a = sum[4u * i] * params.scale;
    let b = sum[4u * i + 1u] * params.scale;
    let c = sum[4u * i + 2u] * params.scale;
    let e = sum[4u * i + 3u] * params.scale;
    if (valid > 0u) { dqkv[to.x + i] = vec4f(a.x, b.x, c.x, e.x) + select(vec4f(), dqkv[to.x + i], adding); }
    if (valid > 1u) { dqkv[to.y + i] = vec4f(a.y, b.y, c.y, e.y) + select(vec4f(), dqkv[to.y + i], adding); }
    if (valid > 2u) { dqkv[to.z + i] = vec4f(a.z, b.z, c.z, e.z) + select(vec4f(), dqkv[to.z + i], adding); }
    if (valid > 3u) { dqkv[to.w + i] = vec4f(a.w, b.w, c.w, e.w) + select(vec4f(), dqkv[to.w + i], adding); }
  }
  if (valid > 0u) { delta[first * params.Hq + head] = d.x; }
  if (valid > 1u) { delta[(first + 1u) * params.Hq + head] = d.y; }
  if (valid > 2u) { delta[(first + 2u) * params.Hq + head] = d.z; }
  if (valid > 3u) { delta[(first + 3u) * params.Hq + head] = d.w; }
}
