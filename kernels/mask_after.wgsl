// y[b, t] = x[b, t] where t ≤ last[b] + beyond, fill elsewhere
//
// x     f32 [B, T], read
// last  u32 [B], read
// y     f32 [B, T], written; each element belongs to one invocation
// Any B, T. Grid: ceil(B·T / 64) workgroups of 64, folded into x and y. 8 bytes an element.

struct Params { B: u32, T: u32, beyond: u32, fill: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> last: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.B * params.T) { return; }
  let b = i / params.T;
  y[i] = select(params.fill, x[i], i - b * params.T <= last[b] + params.beyond);
}
