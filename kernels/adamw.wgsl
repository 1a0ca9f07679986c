// One step of AdamW (arXiv 1711.05101), element by element. With g = scale · gradientScale[0] · gradients[i]:
//   m ← m + (1 − β₁)(g − m)          v ← β₂·v + (1 − β₂)·g²
//   w ← w·decay − stepSize · m / (√v / rootCorrection + eps)
// where decay = 1 − lr·weightDecay, stepSize = lr / (1 − β₁ᵗ), rootCorrection = √(1 − β₂ᵗ), all from the host in f64.
// Nothing is written where gradientScale[0] is 0: some gradient was not finite, and the step is skipped.
//
// weights, firstMoment, secondMoment  Element [size], read and written; element i belongs to invocation i
// gradients                           Element [size], read
// gradientScale                       f32 [1], read
// Element is f32; the host substitutes vec4f where the size divides by 4, and then size counts vectors.
// Workgroup 64; grid: ceil(size / 64) folded into x and y. 28 bytes and about 14 FLOPs a float.

alias Element = f32;
struct Params {
  size: u32, decay: f32, stepSize: f32, rootCorrection: f32, eps: f32,
  towardsFirst: f32, beta2: f32, towardsSecond: f32, scale: f32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<Element>;
@group(0) @binding(2) var<storage, read> gradients: array<Element>;
@group(0) @binding(3) var<storage, read_write> firstMoment: array<Element>;
@group(0) @binding(4) var<storage, read_write> secondMoment: array<Element>;
@group(0) @binding(5) var<storage, read> gradientScale: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 64u + id.x;
  let scale = gradientScale[0];
  if (i >= params.size || scale == 0.0) { return; }
  let gradient = gradients[i] * (scale * params.scale);
  let oldFirst = firstMoment[i];
  let first = oldFirst + params.towardsFirst * (gradient - oldFirst);
  let second = params.beta2 * secondMoment[i] + params.towardsSecond * gradient * gradient;
  firstMoment[i] = first;
  secondMoment[i] = second;
  weights[i] = weights[i] * params.decay - params.stepSize * first / (sqrt(second) / params.rootCorrection + params.eps);
}
