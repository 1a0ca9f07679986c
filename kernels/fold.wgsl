// fresh[s] = Σ_c partial[c, s] for s < maxFrom, max_c partial[c, s] for the others
// sums[s] = fresh[s]   (+ sums[s], or the larger of the two, if accumulate)
// first[0] = scale · fresh[0]
//
// partial  f32 [C, S], read
// sums     f32 [S], read and written; element s belongs to workgroup s
// first    f32 [1], written by workgroup 0
// Any C, S. Workgroup 256; grid: S. A fixed tree: strided partial sums in rising order, then halving. 4·C·S bytes, C·S FLOPs.

struct Params { C: u32, S: u32, maxFrom: u32, accumulate: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> first: array<f32>;

var<workgroup> tree: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = group.x;
  let largest = s >= params.maxFrom;
  var total = 0.0;
  if (lane < params.C) { total = partial[lane * params.S + s]; }
  else if (largest) { total = partial[s]; }
  for (var c = lane + 256u; c < params.C; c += 256u) {
    let value = partial[c * params.S + s];
    total = select(total + value, max(total, value), largest);
  }
  tree[lane] = total;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if (lane < half) {
      let other = tree[lane + half];
      tree[lane] = select(tree[lane] + other, max(tree[lane], other), largest);
    }
    workgroupBarrier();
  }
  if (lane > 0u) { return; }
  let fresh = tree[0];
  if (s == 0u) { first[0] = params.scale * fresh; }
  if (params.accumulate == 0u) { sums[s] = fresh; }
  else { sums[s] = select(sums[s] + fresh, max(sums[s], fresh), largest); }
}
