// For some ids of each row, over the tiles in turn, first with counting = 0 and, once all tiles have gone by, again with counting = 1:
//   logits[r, n] = z[r, wanted[r, n]],   ranks[r, n] = how many ids have a larger z[r, ·], or an equal one and a lower id
//
// tile    f32 [rows, stride], read: z of rows firstRow… and of the ids firstId… in `columns` numbers of each row, from `column` on
// wanted  u32 [R, K], read
// logits  f32 [R, K], written where the tile holds the id (counting = 0), then read;  ranks  u32 [R, K], added to; set to 0 if begin = 1
// K ≤ 16. Workgroup `lanes` (a power of two); grid: one workgroup a row of the tile, folded into x and y; it owns the row of every output.
// NaN counts as larger than nothing. 4·rows·columns bytes, no FLOPs.

struct Params {
  rows: u32, column: u32, columns: u32, stride: u32, firstRow: u32, firstId: u32, begin: u32, counting: u32, K: u32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tile: array<f32>;
@group(0) @binding(2) var<storage, read> wanted: array<u32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> ranks: array<u32>;

override lanes: u32 = 64;

var<workgroup> partial: array<u32, lanes>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let out = (params.firstRow + local) * params.K;
  let base = local * params.stride + params.column;
  if (params.counting == 0u) {
    for (var n = lane; n < params.K; n += lanes) {
      let id = wanted[out + n];
      if (id >= params.firstId && id - params.firstId < params.columns) {
        logits[out + n] = tile[base + id - params.firstId];
      }
    }
    return;
  }
  for (var n = 0u; n < params.K; n++) {
    let id = wanted[out + n];
    let own = logits[out + n];
    var count = 0u;
    for (var c = lane; c < params.columns; c += lanes) {
      let z = tile[base + c];
      let number = (bitcast<u32>(z) & 0x7fffffffu) <= 0x7f800000u;
      count += select(0u, 1u, number && (z > own || (z == own && params.firstId + c < id)));
    }
    partial[lane] = count;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half >>= 1u) {
      if (lane < half) { partial[lane] += partial[lane + half]; }
      workgroupBarrier();
    }
    if (lane == 0u) { ranks[out + n] = partial[0] + select(ranks[out + n], 0u, params.begin == 1u); }
    workgroupBarrier();
  }
}
