// Merges one tile of logits into a row's list of the k largest so far, best first, equal ones by id:
//   ids[r, n], logits[r, n] = the id with the (n + 1)-th largest z[r, ·], and that z
//
// tile    f32 [rows, stride], read: z of rows firstRow… and of the ids firstId… in `columns` numbers of each row, from `column` on
// ids     u32 [R, k], read and written;  logits  f32 [R, k], read and written; nobody (2³² − 1) and the lowest number where there are fewer
// k ≤ 16. Workgroup `lanes` (a power of two, at most 128); grid: one workgroup a row of the tile, folded into x and y; it owns the row of every
// output. NaN is in no list. 4·rows·columns bytes, no FLOPs; each lane keeps a list of its own, then the lists are merged by k tournaments.

struct Params { rows: u32, column: u32, columns: u32, stride: u32, firstRow: u32, firstId: u32, begin: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tile: array<f32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;

override lanes: u32 = 64;
const lowest = -3.4028234e38f;
const nobody = 4294967295u;

var<workgroup> values: array<f32, lanes>;
var<workgroup> names: array<u32, lanes>;
var<workgroup> owners: array<u32, lanes>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let local = group.y * groups.x + group.x;
  if (local >= params.rows) { return; }
  let out = (params.firstRow + local) * params.k;
  let base = local * params.stride + params.column;
  var best: array<f32, 16>;
  var bestIds: array<u32, 16>;
  for (var n = 0u; n < 16u; n++) {
    best[n] = lowest;
    bestIds[n] = nobody;
    // Earlier tiles have lower ids, which win ties: whoever comes first stays in front.
    if (lane == 0u && params.begin == 0u && n < params.k) {
      best[n] = logits[out + n];
      bestIds[n] = ids[out + n];
    }
  }
  let last = params.k - 1u;
  for (var c = lane; c < params.columns; c += lanes) {
    let z = tile[base + c];
    if ((bitcast<u32>(z) & 0x7fffffffu) > 0x7f800000u) { continue; }
    if (!(z > best[last] || bestIds[last] == nobody)) { continue; }
    var n = last;
    for (; n > 0u && (bestIds[n - 1u] == nobody || z > best[n - 1u]); n--) {
      best[n] = best[n - 1u];
      bestIds[n] = bestIds[n - 1u];
    }
    best[n] = z;
    bestIds[n] = params.firstId + c;
  }
  var next = 0u;
  for (var n = 0u; n < params.k; n++) {
    values[lane] = select(lowest, best[min(next, 15u)], next < params.k);
    names[lane] = select(nobody, bestIds[min(next, 15u)], next < params.k);
    owners[lane] = lane;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half >>= 1u) {
      if (lane < half) {
        let other = lane + half;
        let wins = values[other] > values[lane] || (values[other] == values[lane] && names[other] < names[lane]);
        if (wins) {
          values[lane] = values[other];
          names[lane] = names[other];
          owners[lane] = owners[other];
        }
      }
      workgroupBarrier();
    }
    if (lane == 0u) {
      logits[out + n] = values[0];
      ids[out + n] = names[0];
    }
    if (owners[0] == lane) { next++; }
    workgroupBarrier();
  }
}
