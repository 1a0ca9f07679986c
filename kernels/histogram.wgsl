// Counts elements by sign and magnitude, and sums them. With b = |x|'s bits / 2²⁰ (8 bits of exponent and 3 of mantissa: eight bins an octave):
//   counts[b] += how many finite x > 0 have that b,   counts[2040 + b] += how many finite x < 0,
//   counts[4080…4083] += how many are zero, +∞, −∞, NaN,
//   counts[4084…4087] = the largest of itself and of  |x| for finite x > 0,  |x| for x < 0,  ~|x| for x > 0,  ~|x| for x < 0  (as bits),
//   counts[4088] = the largest of itself and of  ~place  for the elements that are not finite, place = base + index
//   partial[to + g] = Σ scale·x,  Σ (scale·x)²  over the finite elements of workgroup g
//
// x        f32 [≥ offset + size], read as bits: compilers may assume that no float is NaN
// counts   u32 [slices, 4096], read and written by atomics on integers, whose order does not matter; starts as zeros. Workgroup g counts in
//          slice g mod slices; what is told above is what the slices come to together
// partial  f32 [≥ to + G, 2], written; row to + g belongs to workgroup g
// Any size. Workgroup `lanes` (a power of two); grid: G = `groups` in x, which take turns in runs of 256·lanes elements. Sums are fixed
// trees over blocks of 256. With words = 4096 each counts in workgroup memory (16 KiB) first; with less, 2·lanes, in its slice at once: a CPU
// has no faster memory, and SwiftShader takes seconds to compile so much of it. 4 bytes and 4 FLOPs an element.

struct Params { size: u32, offset: u32, base: u32, to: u32, groups: u32, slices: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

override lanes: u32 = 256;
override words: u32 = 4096;
const run = 256u;
const sums = 4084u; // counts below are added up, those from here on compared

var<workgroup> own: array<atomic<u32>, words>; // at the end, the lanes' sums

fn add(slice: u32, slot: u32, count: u32) {
  if (words == 4096u) { atomicAdd(&own[slot], count); } else { atomicAdd(&counts[slice + slot], count); }
}

fn raise(slice: u32, slot: u32, value: u32) {
  if (value == 0u) { return; }
  if (words == 4096u) { atomicMax(&own[slot], value); } else { atomicMax(&counts[slice + slot], value); }
}

@compute @workgroup_size(lanes)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  for (var b = lane; b < words; b += lanes) { atomicStore(&own[b], 0u); }
  workgroupBarrier();
  let slice = (group.x % params.slices) * 4096u;
  var sum = 0.0;
  var squares = 0.0;
  var zeros = 0u;
  var largest = vec2u(); // of positive and of negative numbers
  var smallest = vec2u(); // the same, of the bits' complements
  var stray = 0u;
  for (var start = group.x * run * lanes; start < params.size; start += params.groups * run * lanes) {
    var blockSum = 0.0;
    var blockSquares = 0.0;
    let end = min(start + run * lanes, params.size);
    for (var i = start + lane; i < end; i += lanes) {
      let bits = x[params.offset + i];
      let magnitude = bits & 0x7fffffffu;
      let negative = bits >> 31u;
      if (magnitude == 0u) {
        zeros++;
      } else if (magnitude < 0x7f800000u) {
        add(slice, (magnitude >> 20u) + 2040u * negative, 1u);
        let sign = vec2<bool>(negative == 0u, negative == 1u);
        largest = max(largest, select(vec2u(), vec2u(magnitude), sign));
        smallest = max(smallest, select(vec2u(), vec2u(~magnitude), sign));
        let value = bitcast<f32>(bits) * params.scale;
        blockSum += value;
        blockSquares += value * value;
      } else {
        add(slice, select(4083u, 4081u + negative, magnitude == 0x7f800000u), 1u);
        stray = max(stray, ~(params.base + i));
      }
    }
    sum += blockSum;
    squares += blockSquares;
  }
  if (zeros > 0u) { add(slice, 4080u, zeros); }
  raise(slice, 4084u, largest.x);
  raise(slice, 4085u, largest.y);
  raise(slice, 4086u, smallest.x);
  raise(slice, 4087u, smallest.y);
  raise(slice, 4088u, stray);
  workgroupBarrier();
  for (var b = lane; b < words && words == 4096u; b += lanes) {
    let count = atomicLoad(&own[b]);
    if (count == 0u) { continue; }
    if (b < sums) { atomicAdd(&counts[slice + b], count); } else { atomicMax(&counts[slice + b], count); }
  }
  workgroupBarrier();
  atomicStore(&own[lane], bitcast<u32>(sum));
  atomicStore(&own[lanes + lane], bitcast<u32>(squares));
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) {
      sum += bitcast<f32>(atomicLoad(&own[lane + half]));
      squares += bitcast<f32>(atomicLoad(&own[lanes + lane + half]));
      atomicStore(&own[lane], bitcast<u32>(sum));
      atomicStore(&own[lanes + lane], bitcast<u32>(squares));
    }
    workgroupBarrier();
  }
  if (lane > 0u) { return; }
  partial[2u * (params.to + group.x)] = sum;
  partial[2u * (params.to + group.x) + 1u] = squares;
}
