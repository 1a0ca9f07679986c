// From the right, with g_t = gamma (times discounts[b, t] if hasDiscounts) and A_T = 0:
//   δ_t = reward_t + g_t·V_{t+1} − V_t,   A_t = δ_t + g_t·lambda·A_{t+1},   return_t = A_t + V_t
// V_T is values[b, T] where values has T + 1 columns, else 0.
//
// reward     f32 [B, T], read
// values     f32 [B, columns], read; columns is T or T + 1
// discounts  f32 [B, T], read if hasDiscounts; any buffer otherwise
// advantage  f32 [B, T], written; row b belongs to invocation b
// returns    f32 [B, T], written, likewise
// Any B, T. Workgroup 64; grid: ceil(B / 64). 16 bytes and 6 FLOPs an element.

struct Params { B: u32, T: u32, columns: u32, gamma: f32, lambda: f32, hasDiscounts: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> reward: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> discounts: array<f32>;
@group(0) @binding(4) var<storage, read_write> advantage: array<f32>;
@group(0) @binding(5) var<storage, read_write> returns: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let b = id.x;
  if (b >= params.B) { return; }
  let T = params.T;
  var following = 0.0;
  if (params.columns > T) { following = values[b * params.columns + T]; }
  var later = 0.0;
  for (var n = 0u; n < T; n += 1u) {
    let t = T - 1u - n;
    let i = b * T + t;
    let value = values[b * params.columns + t];
    var g = params.gamma;
    if (params.hasDiscounts == 1u) { g *= discounts[i]; }
    later = reward[i] + g * following - value + g * params.lambda * later;
    following = value;
    advantage[i] = later;
    returns[i] = later + value;
  }
}
