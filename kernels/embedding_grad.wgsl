// dRows[ids[n] − first, d] += Σ_j dx[order[j], d],   j from starts[n] to starts[n + 1]
//
// dx      f32 [T, D], read
// order   u32 [T], read: token positions sorted by id, equal ids by position
// starts  u32 [N + 1], read: where each distinct id's positions begin in `order`
// ids     u32 [N], read: the distinct ids, rising
// dRows   f32 [count, D], read and written; row ids[n] belongs to the invocations of n, so nothing is added twice or out of order
// This dispatch takes the distinct ids [begin, end), those of one row range of the table that starts at id `first`.
// Any T, D. Workgroup 64; grid: one invocation an element of [end − begin, D], folded into x and y. 4·T·D + 8·N·D bytes, T·D FLOPs.

struct Params { D: u32, first: u32, begin: u32, end: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dx: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> dRows: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= (params.end - params.begin) * params.D) { return; }
  let local = i / params.D;
  let n = params.begin + local;
  let d = i - local * params.D;
  var sum = 0.0;
  let end = starts[n + 1u];
  for (var j = starts[n]; j < end; j++) {
    sum += dx[order[j] * params.D + d];
  }
  dRows[(ids[n] - params.first) * params.D + d] += sum;
}
