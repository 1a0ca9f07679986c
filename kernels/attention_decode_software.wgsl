// attention_decode.wgsl for CPUs posing as GPUs: the same contract, other ownership. An invocation owns some heads of one sequence, so that
// all lanes of a CPU's vectors are at work and nothing needs a barrier: there a load takes as long for two lanes as for eight.
//
// qkv           f32 [B, (Hq + 2·Hkv)·hd], read: only the heads of q; k and v are in the cache by now
// keys, values  f32 [B, capacity, Hkv·hd], read
// lengths       u32 [B], read: valid rows of the cache; more than the capacity counts as the capacity; 0 gives zeros
// o             f32 [B, Hq·hd], written; (b, h) belongs to one invocation, with other heads that share its keys
// hd = 4·hd4 (a constant put before this text), at most 32. Workgroup 8; grid: ⌈B·Hq / (8·heads)⌉ in x, folded into y. No workgroup memory.
// Unrolled by unroll.ts: heads, a divisor of Hq / Hkv.

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
  let perSequence = params.Hq / heads;
  if (unit >= params.B * perSequence) { return; }
  let b = unit / perSequence;
  let head = unit % perSequence * heads;
  let keyHead = head / (params.Hq / params.Hkv);
  let length = min(lengths[b], params.capacity);
  let query = (b * (params.Hq + 2u * params.Hkv) + head) * hd4;
  #for h in heads
  var q$h: array<vec4f, hd4>;
  var sum$h: array<vec4f, hd4>;
  var highest$h = -1e30;
  var weight$h = 0.0;
  for (var i = 0u; i < hd4; i++) {
    q$h[i] = qkv[query + $hu * hd4 + i] * params.scale;
    sum$h[i] = vec4f();
  }
  #end
  for (var j = 0u; j < length; j++) {
    let at = ((b * params.capacity + j) * params.Hkv + keyHead) * hd4;
    #for h in heads
    var products$h = vec4f();
    #end
    for (var i = 0u; i < hd4; i++) {
      let k = keys[at + i];
      #for h in heads
      products$h += q$h[i] * k;
      #end
    }
    #for h in heads
    let s$h = (products$h.x + products$h.y) + (products$h.z + products$h.w);
    let top$h = max(highest$h, s$h);
    let shrink$h = exp(highest$h - top$h);
    let p$h = exp(s$h - top$h);
    highest$h = top$h;
    weight$h = weight$h * shrink$h + p$h;
    #end
    for (var i = 0u; i < hd4; i++) {
      let v = values[at + i];
      #for h in heads
      sum$h[i] = sum$h[i] * shrink$h + p$h * v;
      #end
    }
  }
  #for h in heads
  let inverse$h = select(0.0, 1.0 / weight$h, length > 0u);
  for (var i = 0u; i < hd4; i++) { o[(b * params.Hq + head + $hu) * hd4 + i] = sum$h[i] * inverse$h; }
  #end
}
