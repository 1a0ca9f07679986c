// keys[b, n, ·] = the k heads of row t,  values[b, n, ·] = the v heads of row t, where token t is the n-th of sequence b:
//   prompt: b = firstSequence + sequences[t], n = positions[t];     one new token a sequence (T = B): b = t, n = lengths[t] − 1.
// Rows whose n is not below the capacity are dropped.
//
// qkv           f32 [T, (Hq + 2·Hkv)·hd], read: heads of q, then of k, then of v
// sequences     u32 [T], read: sequences of the tokens (prompt only)
// places        u32 [T], read: positions of the tokens, or lengths including the new one
// keys, values  f32 [B, capacity, Hkv·hd], written; row (b, n) belongs to the invocations of token t
// hd a multiple of 4. Workgroup 64; grid: one invocation for 4 channels of both, folded into x and y. 16·T·Hkv·hd bytes.

struct Params {
  units: u32,
  stride4: u32,
  key4: u32,
  width4: u32,
  capacity: u32,
  firstSequence: u32,
  stepping: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> sequences: array<u32>;
@group(0) @binding(3) var<storage, read> places: array<u32>;
@group(0) @binding(4) var<storage, read_write> keys: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> values: array<vec4f>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let unit = (group.y * groups.x + group.x) * 64u + lane;
  if (unit >= params.units) { return; }
  let t = unit / params.width4;
  let i = unit % params.width4;
  var b = t;
  var n = places[t] - 1u;
  if (params.stepping == 0u) {
    b = params.firstSequence + sequences[t];
    n = places[t];
  }
  if (n >= params.capacity) { return; }
  let from_ = t * params.stride4 + params.key4 + i;
  let to = (b * params.capacity + n) * params.width4 + i;
  keys[to] = qkv[from_];
  values[to] = qkv[from_ + params.width4];
}
