// attention_decode.wgsl for CPUs posing as GPUs: the same contract, other ownership. An invocation owns one head of one sequence, so that all
// lanes of a CPU's vectors are at work and nothing needs a barrier: there a load takes as long for two lanes as for eight.
//
// qkv           f32 [B, (Hq + 2·Hkv)·hd], read: only the heads of q; k and v are in the cache by now
// keys, values  f32 [B, capacity, Hkv·hd], read
// lengths       u32 [B], read: valid rows of the cache; more than the capacity counts as the capacity; 0 gives zeros
// o             f32 [B, Hq·hd], written; (b, h) belongs to one invocation
// hd = 4·hd4 (a constant put before this text), at most 32. Workgroup 8; grid: ⌈B·Hq / 8⌉ in x, folded into y. No workgroup memory.

struct Params { B: u32, Hq: u32, Hkv: u32, capacity: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;
@group(0) @binding(3) var<storage, read> values: array<vec4f>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let unit = (group.y * groups.x + group.x) * 8u + lane;
  if (unit >= params.B * params.Hq) { return; }
  let b = unit / params.Hq;
  let head = unit % params.Hq;
  let keyHead = head / (params.Hq / params.Hkv);
  let length = min(lengths[b], params.capacity);
  let query = (b * (params.Hq + 2u * params.Hkv) + head) * hd4;
  var q: array<vec4f, hd4>;
  var sum: array<vec4f, hd4>;
  for (var i = 0u; i < hd4; i++) {
    q[i] = qkv[query + i] * params.scale;
    sum[i] = vec4f();
  }
  var highest = -1e30;
  var weight = 0.0;
  for (var j = 0u; j < length; j++) {
    let at = ((b * params.capacity + j) * params.Hkv + keyHead) * hd4;
    var products = vec4f();
    for (var i = 0u; i < hd4; i++) { products += q[i] * keys[at + i]; }
    let s = (products.x + products.y) + (products.z + products.w);
    let top = max(highest, s);
    let shrink = exp(highest - top);
    let p = exp(s - top);
    highest = top;
    weight = weight * shrink + p;
    for (var i = 0u; i < hd4; i++) { sum[i] = sum[i] * shrink + p * values[at + i]; }
  }
  let inverse = select(0.0, 1.0 / weight, length > 0u);
  for (var i = 0u; i < hd4; i++) { o[(b * params.Hq + head) * hd4 + i] = sum[i] * inverse; }
}
