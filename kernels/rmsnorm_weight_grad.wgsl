// partial[c, d] = Σ over the rows t of chunk c of  dy[t, d] · x[t, d] · scale[t]
//
// x, dy    f32 [T, D], read
// scale    f32 [T], read
// partial  f32 [C, D], written; column sums of C = ceil(T / rows) chunks, to be summed in order by sum_rows.wgsl
// Any T, D. Workgroup 64; grid: (ceil(D / 64), C). Invocation (c, d) owns one element. 8·T·D bytes, 3·T·D FLOPs.

struct Params { T: u32, D: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  if (d >= params.D) { return; }
  let first = id.y * params.rows;
  let last = min(first + params.rows, params.T);
  var sum = 0.0;
  for (var t = first; t < last; t += 1u) {
    sum += dy[t * params.D + d] * x[t * params.D + d] * scale[t];
  }
  partial[id.y * params.D + d] = sum;
}
