// o[b, h] = Σ_j p[j]·values[b, j, g],   p = softmax_j(scale·q[b, h]·keys[b, j, g]) over j < lengths[b];   g = h / (Hq / Hkv)
//
// qkv           f32 [B, (Hq + 2·Hkv)·hd], read: only the heads of q; k and v are in the cache by now
// keys, values  f32 [B, capacity, Hkv·hd], read
// lengths       u32 [B], read: valid rows of the cache; more than the capacity counts as the capacity; 0 gives zeros
// o             f32 [B, Hq·hd], written; (b, h) belongs to one workgroup
// hd a multiple of 4, at most 128. Workgroup 64; grid: B in x, Hq in y. 2·lengths·hd·4 bytes and 4·lengths·hd FLOPs for each (b, h).
// Keys go by 64: an invocation scores one key, then the invocations are the channels that sum the values.

struct Params { Hq: u32, Hkv: u32, hd4: u32, capacity: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<f32>;

var<workgroup> scores: array<f32, 64>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.x;
  let head = group.y;
  let keyHead = head / (params.Hq / params.Hkv);
  let length = min(lengths[b], params.capacity);
  let width4 = params.Hkv * params.hd4;
  let query = b * (params.Hq + 2u * params.Hkv) * params.hd4 + head * params.hd4;
  let channels = params.hd4 * 4u;
  var highest = -1e30;
  var weight = 0.0;
  var sum = vec2f();
  for (var first = 0u; first < length; first += 64u) {
    let key = first + lane;
    var s = -1e30;
    if (key < length) {
      let at = (b * params.capacity + key) * width4 + keyHead * params.hd4;
      var products = vec4f();
      for (var i = 0u; i < params.hd4; i++) { products += qkv[query + i] * keys[at + i]; }
      s = ((products.x + products.y) + (products.z + products.w)) * params.scale;
    }
    partial[lane] = s;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
      if (lane < half) { partial[lane] = max(partial[lane], partial[lane + half]); }
      workgroupBarrier();
    }
    let before = highest;
    highest = max(highest, partial[0]);
    scores[lane] = select(0.0, exp(s - highest), key < length);
    workgroupBarrier();
    let shrink = exp(before - highest);
    weight *= shrink;
    sum *= shrink;
    let end = min(64u, length - first);
    for (var j = 0u; j < end; j++) {
      let p = scores[j];
      weight += p;
      let at = ((b * params.capacity + first + j) * params.Hkv + keyHead) * channels;
      if (lane < channels) { sum.x += p * values[at + lane]; }
      if (lane + 64u < channels) { sum.y += p * values[at + lane + 64u]; }
    }
    workgroupBarrier();
  }
  let inverse = select(0.0, 1.0 / weight, length > 0u);
  let at = (b * params.Hq + head) * channels;
  if (lane < channels) { o[at + lane] = sum.x * inverse; }
  if (lane + 64u < channels) { o[at + lane + 64u] = sum.y * inverse; }
}
