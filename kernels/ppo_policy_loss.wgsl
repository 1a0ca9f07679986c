// For row r at slot s = slots[r], with A = advantages[s], Δ = logprob[r] − oldLogprob[s], ρ = exp(Δ):
//   loss = max(−A·ρ, −A·clamp(ρ, 1 − low, 1 + high)), and for A < 0 no more than −A·dual if dual > 0
// Rows whose slot is not below B·T are unused and count for nothing.
//
// logprob     f32 [R], read
// slots       u32 [R], read
// oldLogprob  f32 [slotCount], read at the slots
// advantages  f32 [slotCount], read at the slots
// slope       f32 [R], written: ∂loss / ∂logprob of this row alone; row r belongs to invocation r mod C
// partial     f32 [C, 10], written: sums over the rows c, c + C, c + 2C, … of
//             loss, 1, −Δ, Δ²/2, ρ − 1 − Δ, clipped > unclipped, dual clip active, ρ − 1, (ρ − 1)², and the maximum of |ρ − 1|
// Any R. Workgroup 64; grid: ceil(C / 64). 20 bytes and about 30 FLOPs a row.

struct Params { R: u32, C: u32, slotCount: u32, low: f32, high: f32, dual: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> oldLogprob: array<f32>;
@group(0) @binding(4) var<storage, read> advantages: array<f32>;
@group(0) @binding(5) var<storage, read_write> slope: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

// exp(x) − 1, by its series where the subtraction would lose the digits.
fn growth(x: f32) -> f32 {
  let series = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0)));
  return select(exp(x) - 1.0, series, abs(x) < 0.05);
}

// exp(x) − 1 − x, likewise.
fn excess(x: f32) -> f32 {
  let series = x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x / 120.0)));
  return select(exp(x) - 1.0 - x, series, abs(x) < 0.1);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var loss = 0.0;
  var tokens = 0.0;
  var k1 = 0.0;
  var k2 = 0.0;
  var k3 = 0.0;
  var clippedTokens = 0.0;
  var dualTokens = 0.0;
  var change = 0.0;
  var squares = 0.0;
  var largest = 0.0;
  for (var r = id.x; r < params.R; r += params.C) {
    let s = slots[r];
    if (s >= params.slotCount) {
      slope[r] = 0.0;
      continue;
    }
    let advantage = advantages[s];
    let delta = logprob[r] - oldLogprob[s];
    let ratio = exp(delta);
    let unclipped = -advantage * ratio;
    let clipped = -advantage * clamp(ratio, 1.0 - params.low, 1.0 + params.high);
    var worst = max(unclipped, clipped);
    var gradient = select(unclipped, 0.0, clipped > unclipped);
    if (params.dual > 0.0 && advantage < 0.0 && worst > -advantage * params.dual) {
      worst = -advantage * params.dual;
      gradient = 0.0;
      dualTokens += 1.0;
    }
    slope[r] = gradient;
    loss += worst;
    tokens += 1.0;
    k1 -= delta;
    k2 += 0.5 * delta * delta;
    k3 += excess(delta);
    clippedTokens += select(0.0, 1.0, clipped > unclipped);
    let moved = growth(delta);
    change += moved;
    squares += moved * moved;
    largest = max(largest, abs(moved));
  }
  let row = 10u * id.x;
  partial[row] = loss;
  partial[row + 1u] = tokens;
  partial[row + 2u] = k1;
  partial[row + 3u] = k2;
  partial[row + 4u] = k3;
  partial[row + 5u] = clippedTokens;
  partial[row + 6u] = dualTokens;
  partial[row + 7u] = change;
  partial[row + 8u] = squares;
  partial[row + 9u] = largest;
}
