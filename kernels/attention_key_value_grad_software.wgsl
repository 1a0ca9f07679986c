// attention_key_value_grad.wgsl for CPUs posing as GPUs: the same contract; an invocation owns four keys of one key head, as the four
// components of its vectors, and uses every q and dy four times.
//
// qkv         f32 [T, (Hq + 2·Hkv)·hd], read
// tiles       u32 [tiles, 4], read: first row and end row of the sequence, first row of the tile; tiles of 4·quads rows
// dy          f32 [T, Hq·hd], read
// lse, delta  f32 [T, Hq], read
// dqkv        f32 as qkv, read and written: the columns of k and v only
// hd = 4·hd4, at most 128. Workgroup `quads`; grid: tiles in x, Hkv in y. No workgroup memory.

override quads: u32 = 8;

struct Params { Hq: u32, Hkv: u32, scale: f32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>;

@compute @workgroup_size(quads)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let keyHead = group.y;
  let sharers = params.Hq / params.Hkv;
  let stride = (params.Hq + 2u * params.Hkv) * hd4;
  let keyColumn = (params.Hq + keyHead) * hd4;
  let valueColumn = (params.Hq + params.Hkv + keyHead) * hd4;
  let end = min(tile.y, tile.z + 4u * quads);
  let first = tile.z + 4u * lane;
  let row = min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(end - 1u));

  var k: array<vec4f, 4 * hd4>; // by channel; component r is key r
  var v: array<vec4f, 4 * hd4>;
  var dk: array<vec4f, 4 * hd4>;
  var dv: array<vec4f, 4 * hd4>;
  let factor = params.scale * 1.4426950408889634;
  let keyAt = row * stride + keyColumn;
  let valueAt = row * stride + valueColumn;
  for (var i = 0u; i < hd4; i++) {
    let a = qkv[keyAt.x + i] * factor;
    let b = qkv[keyAt.y + i] * factor;
    let c = qkv[keyAt.z + i] * factor;
    let d = qkv[keyAt.w + i] * factor;
    k[4u * i] = vec4f(a.x, b.x, c.x, d.x);
    k[4u * i + 1u] = vec4f(a.y, b.y, c.y, d.y);
    k[4u * i + 2u] = vec4f(a.z, b.z, c.z, d.z);
    k[4u * i + 3u] = vec4f(a.w, b.w, c.w, d.w);
    let va = qkv[valueAt.x + i];
    let vb = qkv[valueAt.y + i];
    let vc = qkv[valueAt.z + i];
    let vd = qkv[valueAt.w + i];
    v[4u * i] = vec4f(va.x, vb.x, vc.x, vd.x);
    v[4u * i + 1u] = vec4f(va.y, vb.y, vc.y, vd.y);
    v[4u * i + 2u] = vec4f(va.z, vb.z, vc.z, vd.z);
    v[4u * i + 3u] = vec4f(va.w, vb.w, vc.w, vd.w);
  }
  for (var head = keyHead * sharers; head < (keyHead + 1u) * sharers; head++) {
    for (var query = tile.z; query < tile.y; query++) {
      let qAt = query * stride + head * hd4;
      let yAt = (query * params.Hq + head) * hd4;
      var s = vec4f();
      var dp = vec4f();
      for (var i = 0u; i < hd4; i++) {
        let q = qkv[qAt + i];
        let g = dy[yAt + i];
        s += k[4u * i] * q.x + k[4u * i + 1u] * q.y + k[4u * i + 2u] * q.z + k[4u * i + 3u] * q.w;
        dp += v[4u * i] * g.x + v[4u * i + 1u] * g.y + v[4u * i + 2u] * g.z + v[4u * i + 3u] * g.w;
      }
      let norm = lse[query * params.Hq + head] * 1.4426950408889634;
      let p = select(vec4f(), exp2(s - norm), row <= vec4u(query));
      let ds = p * (dp - delta[query * params.Hq + head]);
      for (var i = 0u; i < hd4; i++) {
        let q = qkv[qAt + i];
        let g = dy[yAt + i];
        dk[4u * i] += ds * q.x;
        dk[4u * i + 1u] += ds * q.y;
        dk[4u * i + 2u] += ds * q.z;
        dk[4u * i + 3u] += ds * q.w;
        dv[4u * i] += p * g.x;
        dv[4u * i + 1u] += p * g.y;
        dv[4u * i + 2u] += p * g.z;
        dv[4u * i + 3u] += p * g.w;
      }
    }
  }
  let valid = end - min(first, end);
  let keyTo = (vec4u(first) + vec4u(0u, 1u, 2u, 3u)) * stride + vec4u(keyColumn);
  let valueTo = keyTo + vec4u(params.Hkv * hd4);
  let adding = params.accumulate == 1u;
  for (var i = 0u; i < hd4; i++) {
    let ka = dk[4u * i] * params.scale;
    let kb = dk[4u * i + 1u] * params.scale;
    let kc = dk[4u * i + 2u] * params.scale;
    let kd = dk[4u * i + 3u] * params.scale;
    let va = dv[4u * i];
    let vb = dv[4u * i + 1u];
    let vc = dv[4u * i + 2u];
    let vd = dv[4u * i + 3u];
    if (valid > 0u) {
      dqkv[keyTo.x + i] = vec4f(ka.x, kb.x, kc.x, kd.x) + select(vec4f(), dqkv[keyTo.x + i], adding);
      dqkv[valueTo.x + i] = vec4f(va.x, vb.x, vc.x, vd.x) + select(vec4f(), dqkv[valueTo.x + i], adding);
    }
    if (valid > 1u) {
      dqkv[keyTo.y + i] = vec4f(ka.y, kb.y, kc.y, kd.y) + select(vec4f(), dqkv[keyTo.y + i], adding);
      dqkv[valueTo.y + i] = vec4f(va.y, vb.y, vc.y, vd.y) + select(vec4f(), dqkv[valueTo.y + i], adding);
    }
    if (valid > 2u) {
      dqkv[keyTo.z + i] = vec4f(ka.z, kb.z, kc.z, kd.z) + select(vec4f(), dqkv[keyTo.z + i], adding);
      dqkv[valueTo.z + i] = vec4f(va.z, vb.z, vc.z, vd.z) + select(vec4f(), dqkv[valueTo.z + i], adding);
    }
    if (valid > 3u) {
      dqkv[keyTo.w + i] = vec4f(ka.w, kb.w, kc.w, kd.w) + select(vec4f(), dqkv[keyTo.w + i], adding);
      dqkv[valueTo.w + i] = vec4f(va.w, vb.w, vc.w, vd.w) + select(vec4f(), dqkv[valueTo.w + i], adding);
    }
  }
}
