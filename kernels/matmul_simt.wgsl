// out[m, n] = alpha · Σ_k A(m, k)·B(k, n)  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// For GPUs, on their ordinary f32 units.
// aDown = false: A(m, k) = a[m, k], true: a[k, m];  bAcross = false: B(k, n) = b[n, k], true: b[k, n]
// a, b      f32, read as vec4: every offset and stride a multiple of 4, and so the extent that runs along memory. Offsets and strides count elements
// bias      f32, element biasOffset + n, read if hasBias, else any tensor
// residual  f32, laid out as out, read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outStride + n; written, and read if accumulate
// Workgroup 256 = 16 × 16, each invocation owning 4·quads rows × 4 columns: a tile of 64·quads × 64; grid: x ⌈N / 64⌉, y ⌈M / (64·quads)⌉, folded into z.
// K goes by 16 through workgroup memory: 4·quads + 4 KiB. Blocks of 4 × 4 are turned over in registers on the way where memory runs along K.
// 2·M·N·K FLOPs; a is read ⌈N / 64⌉ times, b ⌈M / (64·quads)⌉ times. Unrolled by unroll.ts: quads.

struct Params {
  M: u32, N: u32, K: u32,
  aOffset: u32, aStride: u32, bOffset: u32, bStride: u32, outOffset: u32, outStride: u32,
  alpha: f32, accumulate: u32, hasBias: u32, hasResidual: u32, biasOffset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

override aDown: bool;
override bAcross: bool;
const across = 16u * quads; // vec4s in a row of the tile of A
var<workgroup> tileA: array<vec4f, 16 * across>; // [k][m / 4]
var<workgroup> tileB: array<vec4f, 256>; // [k][n / 4]

fn fromA(m: u32, k: u32) -> vec4f {
  if (m >= params.M || k >= params.K) { return vec4f(); }
  if (aDown) { return a[(params.aOffset + k * params.aStride + m) >> 2u]; }
  return a[(params.aOffset + m * params.aStride + k) >> 2u];
}

fn fromB(k: u32, n: u32) -> vec4f {
  if (n >= params.N || k >= params.K) { return vec4f(); }
  if (bAcross) { return b[(params.bOffset + k * params.bStride + n) >> 2u]; }
  return b[(params.bOffset + n * params.bStride + k) >> 2u];
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let firstM = (group.z * groups.y + group.y) * 64u * quads;
  let firstN = group.x * 64u;
  let x = lane & 15u;
  let y = lane >> 4u;
  #for r in quads
  #for i in 4
  var sum$r_$i = vec4f();
  #end
  #end
  for (var k = 0u; k < params.K; k += 16u) {
    // Blocks of A: across × 4; of B: 16 × 4. Invocation i < 64·quads brings one of A, the next 64 one of B each.
    if (lane < 64u * quads) {
      let column = select(lane >> 2u, lane % across, aDown);
      let row = select(lane & 3u, lane / across, aDown) * 4u;
      let m = firstM + column * 4u;
      if (aDown) {
        #for i in 4
        tileA[(row + $iu) * across + column] = fromA(m, k + row + $iu);
        #end
      } else {
        let turned = transpose(mat4x4f(fromA(m, k + row), fromA(m + 1u, k + row), fromA(m + 2u, k + row), fromA(m + 3u, k + row)));
        #for i in 4
        tileA[(row + $iu) * across + column] = turned[$i];
        #end
      }
    }
    let other = (lane + 256u - 64u * quads) & 255u;
    if (other < 64u) {
      let column = select(other >> 2u, other & 15u, bAcross);
      let row = select(other & 3u, other >> 4u, bAcross) * 4u;
      let n = firstN + column * 4u;
      if (bAcross) {
        #for i in 4
        tileB[(row + $iu) * 16u + column] = fromB(k + row + $iu, n);
        #end
      } else {
        let turned = transpose(mat4x4f(fromB(k + row, n), fromB(k + row, n + 1u), fromB(k + row, n + 2u), fromB(k + row, n + 3u)));
        #for i in 4
        tileB[(row + $iu) * 16u + column] = turned[$i];
        #end
      }
    }
    workgroupBarrier();
    #for k in 16
    {
      let right = tileB[$ku * 16u + x];
      #for r in quads
      let left$r = tileA[$ku * across + y + $ru * 16u];
      sum$r_0 = fma(vec4f(left$r.x), right, sum$r_0);
      sum$r_1 = fma(vec4f(left$r.y), right, sum$r_1);
      sum$r_2 = fma(vec4f(left$r.z), right, sum$r_2);
      sum$r_3 = fma(vec4f(left$r.w), right, sum$r_3);
      #end
    }
    #end
    workgroupBarrier();
  }
  let n = firstN + x * 4u;
  #for c in 4
  if (n + $cu < params.N) {
    var shift = 0.0;
    if (params.hasBias == 1u) { shift = bias[params.biasOffset + n + $cu]; }
    #for r in quads
    #for i in 4
    {
      let m = firstM + (y + $ru * 16u) * 4u + $iu;
      if (m < params.M) {
        let index = params.outOffset + m * params.outStride + n + $cu;
        var value = params.alpha * sum$r_$i[$c] + shift;
        if (params.hasResidual == 1u) { value += residual[index]; }
        if (params.accumulate == 1u) { value += out[index]; }
        out[index] = value;
      }
    }
    #end
    #end
  }
  #end
}
