// partial[c, d] = Σ over the rows r of chunk c of  dy[r]·hidden[r, d]
//
// hidden   f32 [R, D], read
// dy       f32 [R], read
// partial  f32 [C, D], written; column sums of C = ceil(R / rows) chunks, to be summed in order by sum_rows.wgsl
// Any R, D. Workgroup 64; grid: (ceil(D / 64), C). Invocation (c, d) owns one element. 4·R·D bytes, 2·R·D FLOPs.

struct Params { R: u32, D: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let d = id.x;
  if (d >= params.D) { return; }
  let last = min((group.y + 1u) * params.rows, params.R);
  var sum = 0.0;
  for (var r = group.y * params.rows; r < last; r += 1u) { sum += dy[r] * hidden[r * params.D + d]; }
  partial[group.y * params.D + d] = sum;
}
