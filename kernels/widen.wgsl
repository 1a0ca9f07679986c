// target_bits[to + i] = element i of words as f32, bit for bit
// first[slot]    = min(first[slot], at + i) over the elements i that are infinite or NaN
//
// words   u32 [padded to 4 words], read: numbers as a file holds them, little-endian; format 0: bf16, 1: f16 (two a word), 2: f32
// target_bits  u32 [≥ to + size], the bits of f32s, written: a denormal number would not survive being handled as one
// first   atomic u32 [≥ slot + 1], read and written; the least of integers does not depend on the order
// Invocation n has the four words from 4n on, that is eight numbers, or four f32s. Workgroup 64; grid folded into x and y.
// 4 + 2 (or 4 + 4) bytes a number. Only integer operations: f16's subnormal numbers and every NaN come out exact on any adapter.

struct Params { size: u32, to: u32, at: u32, slot: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> target_bits: array<u32>;
@group(0) @binding(3) var<storage, read_write> first: array<atomic<u32>>;
override format: u32 = 0u;

/** f16 → f32. A subnormal number, mantissa · 2⁻²⁴, is normal in f32: its leading one becomes the hidden bit. */
fn fromHalf(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 31u;
  let mantissa = half & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (mantissa << 13u); }
  if (exponent > 0u) { return sign | ((exponent + 112u) << 23u) | (mantissa << 13u); }
  if (mantissa == 0u) { return sign; }
  let leading = firstLeadingBit(mantissa);
  return sign | ((leading + 103u) << 23u) | ((mantissa << (23u - leading)) & 0x7fffffu);
}

fn fromHalves(halves: vec4u) -> vec4u {
  return vec4u(fromHalf(halves.x), fromHalf(halves.y), fromHalf(halves.z), fromHalf(halves.w));
}

/** Writes the numbers i … i + 3, as far as there are so many. */
fn put(i: u32, bits: vec4u) {
  let at = params.to + i;
  let left = params.size - i;
  target_bits[at] = bits.x;
  if (left > 1u) { target_bits[at + 1u] = bits.y; }
  if (left > 2u) { target_bits[at + 2u] = bits.z; }
  if (left > 3u) { target_bits[at + 3u] = bits.w; }
  let all = vec4u(0x7f800000u);
  let stray = ((bits & all) == all) & (vec4u(0u, 1u, 2u, 3u) < vec4u(left));
  if (any(stray)) {
    let which = select(select(select(3u, 2u, stray.z), 1u, stray.y), 0u, stray.x);
    atomicMin(&first[params.slot], params.at + i + which);
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = id.y * groups.x * 64u + id.x;
  let i = n * select(8u, 4u, format == 2u);
  if (i >= params.size) { return; }
  let four = words[n];
  if (format == 2u) {
    put(i, four);
    return;
  }
  var low = four << vec4u(16u);
  var high = four & vec4u(0xffff0000u);
  if (format == 1u) {
    low = fromHalves(low >> vec4u(16u));
    high = fromHalves(high >> vec4u(16u));
  }
  put(i, vec4u(low.x, high.x, low.y, high.y));
  if (i + 4u < params.size) { put(i + 4u, vec4u(low.z, high.z, low.w, high.w)); }
}
