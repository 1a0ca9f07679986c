// For row r at slot s = slots[r], with target R = returns[s] and v̂ = clamp(value[r], oldValues[s] ± range):
//   loss = ½·max((value − R)², (v̂ − R)²), or ½·(value − R)² if range is negative
// Rows whose slot is not below B·T are unused and count for nothing.
//
// value      f32 [R], read
// slots      u32 [R], read
// oldValues  f32 [slotCount], read at the slots
// returns    f32 [slotCount], read at the slots
// slope      f32 [R], written: ∂loss / ∂value of this row alone; row r belongs to invocation r mod C
// partial    f32 [C, 8], written: sums over the rows c, c + C, c + 2C, … of
//            loss, 1, clipped > unclipped, value, value − R, (value − R)², R, R²
// Any R. Workgroup 64; grid: ceil(C / 64). 20 bytes and about 25 FLOPs a row.

struct Params { R: u32, C: u32, slotCount: u32, range: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> value: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> oldValues: array<f32>;
@group(0) @binding(4) var<storage, read> returns: array<f32>;
@group(0) @binding(5) var<storage, read_write> slope: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var loss = 0.0;
  var rows = 0.0;
  var clippedRows = 0.0;
  var predicted = 0.0;
  var errors = 0.0;
  var errorSquares = 0.0;
  var goals = 0.0;
  var goalSquares = 0.0;
  for (var r = id.x; r < params.R; r += params.C) {
    let s = slots[r];
    if (s >= params.slotCount) {
      slope[r] = 0.0;
      continue;
    }
    let goal = returns[s];
    let error = value[r] - goal;
    let unclipped = error * error;
    var clipped = unclipped;
    var inside = true;
    if (params.range >= 0.0) {
      let old = oldValues[s];
      inside = value[r] >= old - params.range && value[r] <= old + params.range;
      let bounded = clamp(value[r], old - params.range, old + params.range) - goal;
      clipped = select(bounded * bounded, unclipped, inside);
    }
    // A tie outside the range shares the gradient between the two branches, of which one is flat.
    var share = 1.0;
    if (!inside && clipped == unclipped) { share = 0.5; }
    if (clipped > unclipped) { share = 0.0; }
    slope[r] = error * share;
    loss += 0.5 * max(unclipped, clipped);
    rows += 1.0;
    clippedRows += select(0.0, 1.0, clipped > unclipped);
    predicted += value[r];
    errors += error;
    errorSquares += unclipped;
    goals += goal;
    goalSquares += goal * goal;
  }
  let row = 8u * id.x;
  partial[row] = loss;
  partial[row + 1u] = rows;
  partial[row + 2u] = clippedRows;
  partial[row + 3u] = predicted;
  partial[row + 4u] = errors;
  partial[row + 5u] = errorSquares;
  partial[row + 6u] = goals;
  partial[row + 7u] = goalSquares;
}
