// out[m, n] = alpha · Σ_k a[m, k]·b[n, k]  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// For adapters that compute on CPU cores: NT, the forward pass of a linear layer.
// a, b      f32, read as vec4: every offset and stride a multiple of 4. Offsets and strides count elements
// bias      f32, element biasOffset + n, read if hasBias, else any tensor
// residual  f32, laid out as out, read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outStride + n; written, and read if accumulate
// Any M and N; K a multiple of 4. Workgroup 8 (one SIMD register of a CPU); grid: x ⌈N / 32⌉, y ⌈M / rows⌉. An invocation owns `rows` rows of four
// columns. Its rows are its workgroup's, so a is read uniformly: one scalar load for all lanes. Of b it reads blocks of 4 × 4 and turns them
// over: between registers of a CPU's lanes that is a change of names, and columns side by side need no sum across a vector. 2·M·N·K FLOPs.
// Unrolled by unroll.ts: rows.

struct Params {
  M: u32, N: u32, K: u32,
  aOffset: u32, aStride: u32, bOffset: u32, bStride: u32, outOffset: u32, outStride: u32,
  alpha: f32, accumulate: u32, hasBias: u32, hasResidual: u32, biasOffset: u32, rowsFirst: u32,
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
  let last = params.M - 1u;
  // Rows and columns past the end repeat the last ones and are not written.
  #for r in rows
  var at$r = (params.aOffset + min(first + $ru, last) * params.aStride) >> 2u;
  var sum$r = vec4f();
  #end
  #for c in 4
  let column$c = (params.bOffset + min(n + $cu, params.N - 1u) * params.bStride) >> 2u;
  #end
  let end = params.K >> 2u;
  for (var k = 0u; k < end; k++) {
    let y = transpose(mat4x4f(b[column0 + k], b[column1 + k], b[column2 + k], b[column3 + k]));
    #for r in rows
    let x$r = a[at$r + k];
    sum$r = fma(vec4f(x$r.x), y[0], sum$r);
    sum$r = fma(vec4f(x$r.y), y[1], sum$r);
    sum$r = fma(vec4f(x$r.z), y[2], sum$r);
    sum$r = fma(vec4f(x$r.w), y[3], sum$r);
    #end
  }
  #for c in 4
  if (n + $cu < params.N) {
    var shift = 0.0;
    if (params.hasBias == 1u) { shift = bias[params.biasOffset + n + $cu]; }
    #for r in rows
    if (first + $ru < params.M) {
      let index = params.outOffset + (first + $ru) * params.outStride + n + $cu;
      var value = params.alpha * sum$r[$c] + shift;
      if (params.hasResidual == 1u) { value += residual[index]; }
      if (params.accumulate == 1u) { value += out[index]; }
      out[index] = value;
    }
    #end
  }
  #end
}
