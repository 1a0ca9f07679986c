// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A preamble without an entry point: kernels that draw numbers are this text followed by their own. random.ts has the same on the host.
// A draw is a pure function of (counter, key), so neither the tiling of a loop nor the adapter changes it.

/** The high word of the 64-bit product; WGSL has none of its own. */
fn philoxMultiplyHigh(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu;
  let aHigh = a >> 16u;
  let bLow = b & 0xffffu;
  let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let carry = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (carry >> 16u);
}

/** Four random words for a counter and a key. 10 rounds. */
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let high0 = philoxMultiplyHigh(0xD2511F53u, c.x);
    let high1 = philoxMultiplyHigh(0xCD9E8D57u, c.z);
    c = vec4u(high1 ^ c.y ^ k.x, 0xCD9E8D57u * c.z, high0 ^ c.w ^ k.y, 0xD2511F53u * c.x);
    k += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

/**
 * A standard Gumbel variate, −log(−log(1 − u)) with u = (bits + ½)/2³². Both ends keep full relative precision: near 0 the
 * inner logarithm is a series, near 1 the complement is taken among the integers. The largest variate is 22.9.
 */
fn gumbel(bits: u32) -> f32 {
  let u = (f32(bits) + 0.5) * 2.3283064365386963e-10;
  let complement = (f32(~bits) + 0.5) * 2.3283064365386963e-10;
  let s = u / (2.0 - u);
  let series = 2.0 * s * (1.0 + s * s * (0.33333334 + 0.2 * s * s));
  return -log(select(-log(complement), series, u < 0.1));
}
