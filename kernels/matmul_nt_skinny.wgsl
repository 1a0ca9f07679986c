// out[m, n] = alpha · Σ_k a[m, k]·b[n, k]  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// For GPUs, where there are few rows: a decoding step, which is bound by reading b once.
// a, b      f32, read as vec4: every offset and stride a multiple of 4. Offsets and strides count elements
// bias      f32, element biasOffset + n, read if hasBias, else any tensor
// residual  f32, laid out as out, read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outStride + n; written, and read if accumulate
// Any M and N; K a multiple of 4. Workgroup 64 = 8 columns × 8 invocations along K; grid: x ⌈N / 8⌉ folded into z, y ⌈M / rows⌉. Partial sums meet in a
// fixed tree in workgroup memory (256·rows bytes). 4·N·K bytes, 2·M·N·K FLOPs. Unrolled by unroll.ts: rows (1, 2, 4, 8).

struct Params {
  M: u32, N: u32, K: u32,
  aOffset: u32, aStride: u32, bOffset: u32, bStride: u32, outOffset: u32, outStride: u32,
  alpha: f32, accumulate: u32, hasBias: u32, hasResidual: u32, biasOffset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> partial: array<f32, 64 * rows>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = group.y * rows;
  let n = (group.z * groups.x + group.x) * 8u + (lane >> 3u);
  let along = lane & 7u;
  let column = (params.bOffset + min(n, params.N - 1u) * params.bStride) >> 2u;
  #for r in rows
  let at$r = (params.aOffset + min(first + $ru, params.M - 1u) * params.aStride) >> 2u;
  var sum$r = vec4f();
  #end
  let end = params.K >> 2u;
  for (var k = along; k < end; k += 8u) {
    let y = b[column + k];
    #for r in rows
    sum$r = fma(a[at$r + k], y, sum$r);
    #end
  }
  #for r in rows
  partial[$ru * 64u + lane] = dot(sum$r, vec4f(1.0));
  #end
  workgroupBarrier();
  for (var half = 4u; half > 0u; half >>= 1u) {
    if (along < half) {
      #for r in rows
      partial[$ru * 64u + lane] += partial[$ru * 64u + lane + half];
      #end
    }
    workgroupBarrier();
  }
  // Invocation `along` writes row `along` of its column.
  let m = first + along;
  if (along >= rows || m >= params.M || n >= params.N) { return; }
  let index = params.outOffset + m * params.outStride + n;
  var value = params.alpha * partial[along * 64u + (lane & ~7u)];
  if (params.hasBias == 1u) { value += bias[params.biasOffset + n]; }
  if (params.hasResidual == 1u) { value += residual[index]; }
  if (params.accumulate == 1u) { value += out[index]; }
  out[index] = value;
}
