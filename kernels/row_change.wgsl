// Compares rows of two matrices over the elements that are finite in both: changes[to + r] =
//   Σ (b − a)²,  Σ a·b,  Σ a²,  Σ b²,  max |b − a|,  how many elements are not finite in one of them
//
// a, b     f32 [≥ offset + rows·D], read as bits: compilers may assume that no float is NaN
// changes  f32 [≥ to + rows, 6], written; row to + r belongs to workgroup r
// Any rows, D < 2²⁴. Workgroup `lanes` (a power of two); grid: one workgroup a row, folded into x and y.
// Sums are fixed trees. 8·rows·D bytes, 9·rows·D FLOPs.

struct Params { rows: u32, D: u32, aOffset: u32, bOffset: u32, to: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> changes: array<f32>;

override lanes: u32 = 64;

var<workgroup> sums: array<vec4f, lanes>;
var<workgroup> others: array<vec2f, lanes>;

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let r = group.y * groups.x + group.x;
  if (r >= params.rows) { return; }
  var sum = vec4f();
  var largest = 0.0;
  var strays = 0.0;
  for (var d = lane; d < params.D; d += lanes) {
    let left = a[params.aOffset + r * params.D + d];
    let right = b[params.bOffset + r * params.D + d];
    let finite = (left & 0x7f800000u) != 0x7f800000u && (right & 0x7f800000u) != 0x7f800000u;
    let x = bitcast<f32>(select(0u, left, finite));
    let y = bitcast<f32>(select(0u, right, finite));
    let difference = y - x;
    sum += vec4f(difference * difference, x * y, x * x, y * y);
    largest = max(largest, abs(difference));
    strays += select(1.0, 0.0, finite);
  }
  sums[lane] = sum;
  others[lane] = vec2f(largest, strays);
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
      let other = others[lane + half];
      others[lane] = vec2f(max(others[lane].x, other.x), others[lane].y + other.y);
    }
    workgroupBarrier();
  }
  if (lane > 0u) { return; }
  let at = 6u * (params.to + r);
  changes[at] = sums[0].x;
  changes[at + 1u] = sums[0].y;
  changes[at + 2u] = sums[0].z;
  changes[at + 3u] = sums[0].w;
  changes[at + 4u] = others[0].x;
  changes[at + 5u] = others[0].y;
}
