// out[m, n] = alpha · Σ_k A(m, k)·B(k, n)  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// A(m, k) = a[aOffset + m·aRow + k·aColumn],  B(k, n) = b[bOffset + k·bRow + n·bColumn]: any transpose, any strides
// a, b      f32, read
// bias      f32 [N], read if hasBias, else any tensor
// residual  f32, laid out as out (same offset and stride), read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outRow + n; written, and read if accumulate
// Any M, N, K. Workgroup 64; grid: x ⌈N / 64⌉, y ⌈M / 8⌉ folded into y and z. An invocation owns 8 rows of one column; its rows are the
// same for the whole workgroup, so that A is read uniformly. 2·M·N·K FLOPs.

struct Params {
  M: u32, N: u32, K: u32,
  aOffset: u32, aRow: u32, aColumn: u32,
  bOffset: u32, bRow: u32, bColumn: u32,
  outOffset: u32, outRow: u32,
  alpha: f32, accumulate: u32, hasBias: u32, hasResidual: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const rows = 8u;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.z * groups.y + group.y) * rows;
  let n = group.x * 64u + lane;
  if (first >= params.M) { return; }
  // Rows past the end read the last row again and are not written.
  let last = params.M - 1u;
  var at: array<u32, 8>;
  for (var r = 0u; r < rows; r++) { at[r] = params.aOffset + min(first + r, last) * params.aRow; }
  var column = params.bOffset + min(n, params.N - 1u) * params.bColumn;
  var low = vec4f();
  var high = vec4f();
  for (var k = 0u; k < params.K; k++) {
    let step = k * params.aColumn;
    let value = b[column];
    low += value * vec4f(a[at[0] + step], a[at[1] + step], a[at[2] + step], a[at[3] + step]);
    high += value * vec4f(a[at[4] + step], a[at[5] + step], a[at[6] + step], a[at[7] + step]);
    column += params.bRow;
  }
  if (n >= params.N) { return; }
  var shift = 0.0;
  if (params.hasBias == 1u) { shift = bias[n]; }
  for (var r = 0u; r < rows; r++) {
    let m = first + r;
    if (m >= params.M) { return; }
    let index = params.outOffset + m * params.outRow + n;
    var value = params.alpha * select(high[r & 3u], low[r & 3u], r < 4u) + shift;
    if (params.hasResidual == 1u) { value += residual[index]; }
    if (params.accumulate == 1u) { value += out[index]; }
    out[index] = value;
  }
}
