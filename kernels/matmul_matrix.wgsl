// out[m, n] = alpha · Σ_k f16(A(m, k))·f16(B(k, n))  + bias[n] + residual[m, n] + out[m, n]   (the last three only where asked for)
//
// On matrix units: operands rounded to f16, products summed in f32. For Dawn with chromium-experimental-subgroup-matrix.
// aDown = false: A(m, k) = a[m, k], true: a[k, m];  bAcross = false: B(k, n) = b[n, k], true: b[k, n]
// a, b      f32, read as vec4: every offset and stride a multiple of 4, and so the extent that runs along memory. Offsets and strides count elements
// bias      f32, element biasOffset + n, read if hasBias, else any tensor
// residual  f32, laid out as out, read if hasResidual, else any tensor
// out       f32, element (m, n) at outOffset + m·outStride + n; written, and read if accumulate
// The units multiply unit × unit × unit. Workgroup: 4 subgroups as 2 × 2, each owning side × side units of the result: a tile of 2·side·unit squared; grid: x ⌈N / tile⌉,
// y ⌈M / tile⌉ folded into z. K goes by 32 through workgroup memory as f16, in the order that it has in storage, rows padded by 8 against bank conflicts:
// at most 40·tile·2 bytes an operand, and 16·unit² for the way out. 2·M·N·K FLOPs.
// Given by matmul_variants.ts: unit, side (unrolled), lanes (of a subgroup), aDown, bAcross, layoutA, layoutB.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

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

const tile = 2u * side * unit;
const depth = 32u;
const rowA = select(depth, tile, aDown) / 4u; // in vec4s, as everything about the staged tiles
const rowB = select(depth, tile, bAcross) / 4u;
const strideA = rowA + 2u;
const strideB = rowB + 2u;
var<workgroup> tileA: array<vec4<f16>, select(tile, depth, aDown) * strideA>; // [m][k], or [k][m] if aDown
var<workgroup> tileB: array<vec4<f16>, select(tile, depth, bAcross) * strideB>; // [n][k], or [k][n] if bAcross

// The four numbers of A that stand at `column` of row `row` of its tile.
fn fromA(row: u32, column: u32, firstM: u32, k: u32) -> vec4f {
  let m = firstM + select(row, column, aDown);
  let at = k + select(column, row, aDown);
  if (m >= params.M || at >= params.K) { return vec4f(); }
  return a[(params.aOffset + select(m * params.aStride + at, at * params.aStride + m, aDown)) >> 2u];
}

fn fromB(row: u32, column: u32, firstN: u32, k: u32) -> vec4f {
  let n = firstN + select(row, column, bAcross);
  let at = k + select(column, row, bAcross);
  if (n >= params.N || at >= params.K) { return vec4f(); }
  return b[(params.bOffset + select(n * params.bStride + at, at * params.bStride + n, bAcross)) >> 2u];
}
var<workgroup> way: array<f32, 4 * unit * unit>;

@compute @workgroup_size(4 * lanes)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let firstM = (group.z * groups.y + group.y) * tile;
  let firstN = group.x * tile;
  let ownM = (subgroup >> 1u) * side * unit;
  let ownN = (subgroup & 1u) * side * unit;
  #for i in side
  #for j in side
  var sum$i_$j: subgroup_matrix_result<f32, unit, unit>;
  #end
  #end
  for (var k = 0u; k < params.K; k += depth) {
    for (var i = index; i < tile * depth / 4u; i += 4u * lanes) {
      let rA = i / rowA;
      let cA = i % rowA;
      tileA[rA * strideA + cA] = vec4<f16>(fromA(rA, cA * 4u, firstM, k));
      let rB = i / rowB;
      let cB = i % rowB;
      tileB[rB * strideB + cB] = vec4<f16>(fromB(rB, cB * 4u, firstN, k));
    }
    workgroupBarrier();
    for (var step = 0u; step < depth; step += unit) {
      #for i in side
      let m$i = ownM + $iu * unit;
      let n$i = ownN + $iu * unit;
      let left$i = subgroupMatrixLoad<subgroup_matrix_left<f16, unit, unit>, layoutA>(
        &tileA, select(m$i * strideA + step / 4u, step * strideA + m$i / 4u, aDown), strideA);
      let right$i = subgroupMatrixLoad<subgroup_matrix_right<f16, unit, unit>, layoutB>(
        &tileB, select(n$i * strideB + step / 4u, step * strideB + n$i / 4u, bAcross), strideB);
      #end
      #for i in side
      #for j in side
      sum$i_$j = subgroupMatrixMultiplyAccumulate(left$i, right$j, sum$i_$j);
      #end
      #end
    }
    workgroupBarrier();
  }
  #for i in side
  #for j in side
  subgroupMatrixStore<row_major>(&way, subgroup * unit * unit, sum$i_$j, unit);
  workgroupBarrier();
  for (var e = lane; e < unit * unit; e += lanes) {
    let m = firstM + ownM + $iu * unit + e / unit;
    let n = firstN + ownN + $ju * unit + e % unit;
    if (m < params.M && n < params.N) {
      let at = params.outOffset + m * params.outStride + n;
      var value = params.alpha * way[subgroup * unit * unit + e];
      if (params.hasBias == 1u) { value += bias[params.biasOffset + n]; }
      if (params.hasResidual == 1u) { value += residual[at]; }
      if (params.accumulate == 1u) { value += out[at]; }
      out[at] = value;
    }
  }
  workgroupBarrier();
  #end
  #end
}
