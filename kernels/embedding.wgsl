// x[t, d] = rows[tokens[t] − first, d]   for the tokens in [first, first + count); others are left alone
//
// rows    f32 [count, D], read: one row range of the table
// tokens  u32 [T], read
// x       f32 [T, D], written; element (t, d) belongs to one invocation of the dispatch whose range holds the token
// Any T, D. Workgroup 64; grid: one invocation an element, folded into x and y. 8·T·D bytes, no FLOPs.
// The last range's dispatch (last = 1) also writes `outside` (NaN) for ids beyond the table, so that none passes unseen.

struct Params { T: u32, D: u32, first: u32, count: u32, last: u32, outside: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.T * params.D) { return; }
  let t = i / params.D;
  let token = tokens[t];
  if (token < params.first) { return; }
  let row = token - params.first;
  if (row < params.count) {
    x[i] = rows[row * params.D + (i - t * params.D)];
  } else if (params.last == 1u) {
    x[i] = params.outside;
  }
}
