// partial[c, n] = Σ y[t, n] over the rows t of chunk c, in order
//
// y        f32 [T, N], read
// partial  f32 [⌈T / rows⌉, N], written; element (c, n) belongs to one invocation
// Any T, N. Workgroup 64; grid: x ⌈N / 64⌉, y chunks. 4·T·N bytes, T·N FLOPs.

struct Params { T: u32, N: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group.x * 64u + lane;
  if (n >= params.N) { return; }
  let first = group.y * params.rows;
  let end = min(first + params.rows, params.T);
  var sum = 0.0;
  for (var t = first; t < end; t++) { sum += y[t * params.N + n]; }
  partial[group.y * params.N + n] = sum;
}
