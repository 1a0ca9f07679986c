// With σ = 1 / (1 + exp(−g)):   dg = dy·u·σ·(1 + g·(1 − σ)),   du = dy·g·σ   (+ what is there, if accumulate)
//
// gateUp   Element [T, 2F], read
// dy       Element [T, F], read
// dgateUp  Element [T, 2F], read and written; elements (t, f) and (t, F + f) belong to one invocation
// Element is f32; the host substitutes vec4f where F divides by 4, and then F counts vectors.
// Workgroup 64; grid: (ceil(F / 64), rows) with rows folded into y and z. 20·T·F bytes, about 16·T·F FLOPs.

alias Element = f32;
struct Params { T: u32, F: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gateUp: array<Element>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> dgateUp: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let f = id.x;
  let t = id.z * groups.y + id.y;
  if (f >= params.F || t >= params.T) { return; }
  let atGate = 2u * t * params.F + f;
  let atUp = atGate + params.F;
  let gate = gateUp[atGate];
  let sigmoid = 1.0 / (1.0 + exp(-gate));
  let gradient = dy[t * params.F + f];
  var dgate = gradient * gateUp[atUp] * sigmoid * (1.0 + gate * (1.0 - sigmoid));
  var dup = gradient * gate * sigmoid;
  if (params.accumulate == 1u) {
    dgate += dgateUp[atGate];
    dup += dgateUp[atUp];
  }
  dgateUp[atGate] = dgate;
  dgateUp[atUp] = dup;
}
