// Turns a tile of logits z into their gradient, in place. With p = exp(z − m)/s, log p = z − m − log s and H = log s − t/s:
//   dz[r, v] = dLogprob[r]·([v = labels[r]] − p) + dLogSumExp[r]·p − dEntropy[r]·p·(log p + H)
//
// tile       vec4f [rows, ceil(columns / 4)], read and written: z of rows firstRow… and of the ids firstId…, as in the forward
//            pass; what pads a row is left with no meaning
// labels     u32 [R], read
// state      vec4f [R], read: m, s, t and the label's z over the whole vocabulary; see logprob.wgsl
// dLogprob, dLogSumExp, dEntropy   f32 [R], read; each only where its bit of `given` (1, 2, 4) is set
// Any rows, columns. Workgroup `lanes`; grid: one workgroup a row of the tile, folded into x and y. 8·rows·columns bytes, one exp and 8 FLOPs an element.

struct Params { rows: u32, columns: u32, firstRow: u32, firstId: u32, given: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> tile: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> state: array<vec4f>;
@group(0) @binding(4) var<storage, read> dLogprob: array<f32>;
@group(0) @binding(5) var<storage, read> dLogSumExp: array<f32>;
@group(0) @binding(6) var<storage, read> dEntropy: array<f32>;

override lanes: u32 = 64;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let r = params.firstRow + local;
  let row = state[r];
  let logSum = log(row.y);
  let entropy = logSum - row.z / row.y;
  var ofLabel = 0.0;
  var ofSum = 0.0;
  var ofEntropy = 0.0;
  if ((params.given & 1u) != 0u) { ofLabel = dLogprob[r]; }
  if ((params.given & 2u) != 0u) { ofSum = dLogSumExp[r]; }
  if ((params.given & 4u) != 0u) { ofEntropy = dEntropy[r]; }
  let share = ofSum - ofLabel - ofEntropy * entropy;
  let label = labels[r] - params.firstId;
  let quads = (params.columns + 3u) / 4u;
  let base = local * quads;
  for (var q = lane; q < quads; q += lanes) {
    let logP = tile[base + q] - row.x - logSum;
    let isLabel = q * 4u + vec4u(0u, 1u, 2u, 3u) == vec4u(label);
    tile[base + q] = exp(logP) * (share - ofEntropy * logP) + select(vec4f(0.0), vec4f(ofLabel), isLabel);
  }
}
