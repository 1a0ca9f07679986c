// y[t, f] = silu(g)·u,   silu(g) = g / (1 + exp(−g)),   g = gateUp[t, f],   u = gateUp[t, F + f]
//
// gateUp  Element [T, 2F], read: the gate's F columns, then the up projection's
// y       Element [T, F], written; each element belongs to one invocation
// Element is f32; the host substitutes vec4f where F divides by 4, and then F counts vectors.
// Workgroup 64; grid: (ceil(F / 64), rows) with rows folded into y and z. 12·T·F bytes, about 10·T·F FLOPs.

alias Element = f32;
struct Params { T: u32, F: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gateUp: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let f = id.x;
  let t = id.z * groups.y + id.y;
  if (f >= params.F || t >= params.T) { return; }
  let gate = gateUp[2u * t * params.F + f];
  let up = gateUp[(2u * t + 1u) * params.F + f];
  y[t * params.F + f] = gate / (1.0 + exp(-gate)) * up;
}
