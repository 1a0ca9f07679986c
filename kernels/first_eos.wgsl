// e = the smallest t with tokens[b, t] = eos:   last[b] = e, or T − 1 if there is none;   hasEos[b] = whether there is one
//
// tokens  u32 [B, T], read
// last    u32 [B], written; element b belongs to invocation b
// hasEos  u32 [B], written, likewise
// Any B, T ≥ 1. Workgroup 64; grid: ceil(B / 64). At most 4·B·T bytes.

struct Params { B: u32, T: u32, eos: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> last: array<u32>;
@group(0) @binding(3) var<storage, read_write> hasEos: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let b = id.x;
  if (b >= params.B) { return; }
  var t = 0u;
  while (t < params.T && tokens[b * params.T + t] != params.eos) { t += 1u; }
  last[b] = min(t, params.T - 1u);
  hasEos[b] = select(0u, 1u, t < params.T);
}
