// Rotary position embedding (arXiv 2104.09864), half-split as in Qwen2, in place: for every head of q and k, channel i < hd/2 and
// its partner i + hd/2 turn by the angle a = position · theta^(−2i / hd):
//   (x[i], x[i + hd/2])  ←  (x[i]·cos a − x[i + hd/2]·sin a,  x[i + hd/2]·cos a + x[i]·sin a)      with −a if direction = −1
//
// qkv        f32 [T, (Hq + 2·Hkv)·hd], read and written; the heads of v are not touched
// positions  u32 [T], read; below 65,536
// turns      f32 [2, 256, hd/2] pairs (cos, sin), read: the turn of 256·n positions, then of n positions, made in f64.
//            The turn of any position is the product of two of them: no trigonometry in f32, whose angles are coarse far out.
// hd a multiple of 8. Workgroup 64; grid: one invocation for 4 channels and their 4 partners, folded into x and y.
// 2·T·(Hq + Hkv)·hd·4 bytes, 6·T·(Hq + Hkv)·hd FLOPs.

struct Params { units: u32, heads: u32, stride4: u32, half4: u32, direction: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> turns: array<vec4f>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let unit = (group.y * groups.x + group.x) * 64u + lane;
  if (unit >= params.units) { return; }
  let i = unit % params.half4;
  let head = unit / params.half4 % params.heads;
  let t = unit / params.half4 / params.heads;
  let position = positions[t];
  let coarse = ((position >> 8u) & 255u) * params.half4 + i;
  let fine = (256u + (position & 255u)) * params.half4 + i;
  let a01 = turns[2u * coarse];
  let a23 = turns[2u * coarse + 1u];
  let b01 = turns[2u * fine];
  let b23 = turns[2u * fine + 1u];
  let ac = vec4f(a01.xz, a23.xz);
  let as_ = vec4f(a01.yw, a23.yw);
  let bc = vec4f(b01.xz, b23.xz);
  let bs = vec4f(b01.yw, b23.yw);
  let c = ac * bc - as_ * bs;
  let s = (ac * bs + as_ * bc) * params.direction;
  let at = t * params.stride4 + head * 2u * params.half4 + i;
  let x = qkv[at];
  let partner = qkv[at + params.half4];
  qkv[at] = x * c - partner * s;
  qkv[at + params.half4] = partner * c + x * s;
}
