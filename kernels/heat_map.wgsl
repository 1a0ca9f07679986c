// Aggregates a matrix into cells. Of the finite elements x of cell (y, x): rows rowStarts[y]…, columns columnStarts[x]…,
//   cells[y, x] = extreme (the x of largest |x|; of x and −x the positive one),  Σ scale·x,  Σ (scale·x)²,  and how many are
//   not finite, and how many zero
//
// x             f32 [≥ offset + count·columns], read as bits: rows [first, first + count) of the matrix; compilers may assume that no float is NaN
// rowStarts     u32 [height + 1], read, rising;  columnStarts  u32 [width + 1], read, rising
// order         u32 [≥ first + count], read where `ordered` is 1: then [first, first + count) are places in it, place p is row order[p]
//               of x from `offset` on, and rowStarts are of places; every cell goes on from what it holds, zeros to begin with
// cells         u32 [height, width, 5], written: a key of the extreme (below), bits of two f32, two counts. A cell belongs to one
//               workgroup. A band whose first rows lie before `first` goes on from what an earlier dispatch left in its cells.
// Any sizes. Workgroup `across` × `down` (powers of two); grid: groups of cellsEach cells in x, bands from firstBand on in y. Lanes go
// along a row, so reads coalesce; a group has at most `across` columns, or else one cell. Sums are fixed trees over blocks of 64 rows.
// 4 bytes and 4 FLOPs an element, 20 bytes a cell.
// The key is |x|'s bits and then 1 for +: the largest key is the extreme, exactly. 0, the key of −0, also stands for none.

struct Params {
  columns: u32, offset: u32, first: u32, count: u32, width: u32, cellsEach: u32, firstBand: u32, scale: f32
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> rowStarts: array<u32>;
@group(0) @binding(3) var<storage, read> columnStarts: array<u32>;
@group(0) @binding(4) var<storage, read> order: array<u32>;
@group(0) @binding(5) var<storage, read_write> cells: array<u32>;

override across: u32 = 64;
override down: u32 = 4;
override ordered: u32 = 0;

struct Summary { key: u32, strays: u32, zeros: u32, sum: f32, squares: f32 }

var<workgroup> summaries: array<Summary, across * down>;

fn merged(a: Summary, b: Summary) -> Summary {
  return Summary(max(a.key, b.key), a.strays + b.strays, a.zeros + b.zeros, a.sum + b.sum, a.squares + b.squares);
}

fn rowAt(place: u32) -> u32 {
  if (ordered == 1u) { return order[params.first + place]; }
  return place;
}

@compute @workgroup_size(across, down)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let lane = local.y * across + local.x;
  let band = params.firstBand + group.y;
  let firstCell = group.x * params.cellsEach;
  let endCell = min(firstCell + params.cellsEach, params.width);
  let column0 = columnStarts[firstCell];
  let column1 = columnStarts[endCell];
  let row0 = max(rowStarts[band], params.first) - params.first;
  let row1 = min(rowStarts[band + 1u], params.first + params.count) - params.first;

  var own = Summary(0u, 0u, 0u, 0.0, 0.0);
  for (var column = column0 + local.x; column < column1; column += across) {
    for (var block = row0 + local.y; block < row1; block += 64u * down) {
      var sum = 0.0;
      var squares = 0.0;
      let end = min(block + 64u * down, row1);
      for (var row = block; row < end; row += down) {
        let bits = x[params.offset + rowAt(row) * params.columns + column];
        let magnitude = bits & 0x7fffffffu;
        let finite = magnitude < 0x7f800000u;
        let value = bitcast<f32>(select(0u, bits, finite)) * params.scale;
        own.key = max(own.key, select(0u, (bits << 1u) | (~bits >> 31u), finite));
        own.strays += select(1u, 0u, finite);
        own.zeros += select(0u, 1u, magnitude == 0u);
        sum += value;
        squares += value * value;
      }
      own.sum += sum;
      own.squares += squares;
    }
  }
  summaries[lane] = own;
  workgroupBarrier();
  for (var half = down / 2u; half > 0u; half >>= 1u) {
    if (local.y < half) { summaries[lane] = merged(summaries[lane], summaries[lane + half * across]); }
    workgroupBarrier();
  }
  if (params.cellsEach == 1u) {
    for (var half = across / 2u; half > 0u; half >>= 1u) {
      if (lane < half) { summaries[lane] = merged(summaries[lane], summaries[lane + half]); }
      workgroupBarrier();
    }
  }
  let cell = firstCell + lane;
  if (lane >= params.cellsEach || cell >= endCell) { return; }
  var total = summaries[lane];
  if (params.cellsEach > 1u) {
    total = summaries[columnStarts[cell] - column0];
    for (var column = columnStarts[cell] + 1u; column < columnStarts[cell + 1u]; column++) {
      total = merged(total, summaries[column - column0]);
    }
  }
  let at = (band * params.width + cell) * 5u;
  if (ordered == 1u || rowStarts[band] < params.first) {
    let before = Summary(cells[at], cells[at + 3u], cells[at + 4u], bitcast<f32>(cells[at + 1u]), bitcast<f32>(cells[at + 2u]));
    total = merged(before, total);
  }
  cells[at] = total.key;
  cells[at + 1u] = bitcast<u32>(total.sum);
  cells[at + 2u] = bitcast<u32>(total.squares);
  cells[at + 3u] = total.strays;
  cells[at + 4u] = total.zeros;
}
