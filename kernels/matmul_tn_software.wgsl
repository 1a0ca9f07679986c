// out[m, n] = alpha · Σ_k a[k, m]·b[k, n]  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// For adapters that compute on CPU cores: TN, the gradient of a linear layer's weight.
// a, b      f32, read as vec4: every offset and stride a multiple of 4. Offsets and strides count elements
// bias      f32, element biasOffset + n, read if hasBias, else any tensor
// residual  f32, laid out as out, read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outStride + n·outColumn; written, and read if accumulate
// Any K; N a multiple of 4, and rows of a that reach to the next one after M. Workgroup 8 (one SIMD register of a CPU); grid: x ⌈N / 32⌉, y ⌈M / rows⌉. An invocation owns `rows` rows (blocks of
// four) of four columns. Its rows are its workgroup's, so a is read uniformly: one scalar load for all lanes. 2·M·N·K FLOPs.
// Unrolled by unroll.ts: rows, blocks = rows / 4.

struct Params {
  M: u32, N: u32, K: u32,
  aOffset: u32, aStride: u32, bOffset: u32, bStride: u32, outOffset: u32, outStride: u32,
  alpha: f32, accumulate: u32, hasBias: u32, hasResidual: u32, biasOffset: u32, rowsFirst: u32, outColumn: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = select(group.xy, group.yx, params.rowsFirst == 1u);
  let first = tile.y * rows;
  let n = (tile.x * 8u + lane) * 4u;
  let last = ((params.M + 3u) & ~3u) - 4u;
  // Rows and columns past the end repeat the last ones and are not written.
  #for q in blocks
  let at$q = (params.aOffset + min(first + 4u * $qu, last)) >> 2u;
  #end
  #for q in blocks
  #for i in 4
  var sum$q_$i = vec4f();
  #end
  #end
  let aStride = params.aStride >> 2u;
  let bStride = params.bStride >> 2u;
  let column = (params.bOffset + min(n, params.N - 4u)) >> 2u;
  // Four rows of both at a time, so that a sum stays in a register for four products; then the rest one by one.
  let fours = params.K & ~3u;
  for (var k = 0u; k < fours; k += 4u) {
    #for u in 4
    let y$u = b[column + (k + $uu) * bStride];
    #for q in blocks
    let x$u_$q = a[at$q + (k + $uu) * aStride];
    #end
    #end
    #for q in blocks
    #for u in 4
    sum$q_0 = fma(vec4f(x$u_$q.x), y$u, sum$q_0);
    #end
    #for u in 4
    sum$q_1 = fma(vec4f(x$u_$q.y), y$u, sum$q_1);
    #end
    #for u in 4
    sum$q_2 = fma(vec4f(x$u_$q.z), y$u, sum$q_2);
    #end
    #for u in 4
    sum$q_3 = fma(vec4f(x$u_$q.w), y$u, sum$q_3);
    #end
    #end
  }
  for (var k = fours; k < params.K; k++) {
    let y = b[column + k * bStride];
    #for q in blocks
    let x$q = a[at$q + k * aStride];
    sum$q_0 = fma(vec4f(x$q.x), y, sum$q_0);
    sum$q_1 = fma(vec4f(x$q.y), y, sum$q_1);
    sum$q_2 = fma(vec4f(x$q.z), y, sum$q_2);
    sum$q_3 = fma(vec4f(x$q.w), y, sum$q_3);
    #end
  }
  if (n >= params.N) { return; }
  var shift = vec4f();
  if (params.hasBias == 1u) {
    let at = params.biasOffset + n;
    shift = vec4f(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
  }
  let one = params.outColumn;
  #for q in blocks
  #for i in 4
  if (first + 4u * $qu + $iu < params.M) {
    let index = params.outOffset + (first + 4u * $qu + $iu) * params.outStride + n * one;
    var value = params.alpha * sum$q_$i + shift;
    if (params.hasResidual == 1u) {
      value += vec4f(residual[index], residual[index + one], residual[index + 2u * one], residual[index + 3u * one]);
    }
    if (params.accumulate == 1u) {
      value += vec4f(out[index], out[index + one], out[index + 2u * one], out[index + 3u * one]);
    }
    out[index] = value.x;
    out[index + one] = value.y;
    out[index + 2u * one] = value.z;
    out[index + 3u * one] = value.w;
  }
  #end
  #end
}
