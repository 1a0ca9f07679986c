/**
 * A look through the pages of a Parquet file before they are decoded. `hyparquet` (1.31.5) believes every count that it finds: where a byte
 * has changed and a page of a hundred values begins with a run of a thousand million, it counts them all out. Here each count is held
 * against the one that it is a part of, down from the file's size. Numbers and texts are not looked at.
 */
import {
  type ColumnMetaData,
  type Compressors,
  type PageHeader,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import {
  getMaxDefinitionLevel,
  getMaxRepetitionLevel,
  getTreePath,
  isFlatColumn,
} from "hyparquet/src/schema.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import type { ParquetFile } from "./parquet.ts";

/** The largest page that is taken apart, in bytes: writers make them of a megabyte or so. */
const largestPage = 2 ** 30;

type Named = Pick<ParquetFile, "metadata" | "buffer">;

/**
 * Checks what the footer counts: a row takes a byte at least.
 * @throws Error where there is more than the file can hold
 */
export function checkFooter({ metadata, buffer: { byteLength } }: Named): void {
  const counts = [
    metadata.num_rows,
    ...metadata.row_groups.flatMap(({ num_rows, columns }) => [
      num_rows,
      ...columns.map(({ meta_data }) => meta_data?.num_values ?? 0n),
    ]),
  ];
  const wrong = counts.find((count) => !(count >= 0n && count <= byteLength));
  if (wrong !== undefined) throw new Error(`it counts ${wrong} values in ${byteLength} bytes`);
}

/**
 * Checks the pages of some columns of a row group.
 * @param columns of the top level
 * @throws Error, of whatever kind, where they cannot be decoded in a time that goes with their size
 */
export async function checkPages(
  { metadata, buffer }: Named,
  group: RowGroup,
  columns: readonly string[],
  compressors: Compressors,
): Promise<void> {
  const tree = parquetSchema(metadata);
  for (const { meta_data: column } of group.columns) {
    if (!column || !columns.includes(column.path_in_schema[0])) continue;
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    const bytes = await buffer.slice(start, start + Number(column.total_compressed_size));
    checkColumn(new DataView(bytes), column, getTreePath(tree, column.path_in_schema), compressors);
  }
}

function checkColumn(
  view: DataView,
  column: ColumnMetaData,
  path: SchemaTree[],
  compressors: Compressors,
): void {
  const levels: Levels = {
    repetition: path.length > 1 ? bitWidth(getMaxRepetitionLevel(path)) : 0,
    definition: bitWidth(getMaxDefinitionLevel(path)),
  };
  const reader = { view, offset: 0 }, flat = isFlatColumn(path);
  let left = Number(column.num_values);
  // As far as the library goes: to the last value of a flat column, to the last but one byte of another.
  while ((left > 0 || !flat) && reader.offset < view.byteLength - 1) {
    const header = parquetHeader(reader);
    const { compressed_page_size: size, uncompressed_page_size: whole } = header;
    if (!(size >= 0 && reader.offset + size <= view.byteLength && whole >= 0 && whole <= largestPage)) {
      throw new Error(`a page of ${size} bytes, ${whole} when unpacked, is not in it`);
    }
    const bytes = new Uint8Array(view.buffer, view.byteOffset + reader.offset, size);
    reader.offset += size;
    const unpack = (packed: Uint8Array, size: number) =>
      decompressPage(packed, size, column.codec, compressors);
    // What is no page of values, or says of itself what it is not, the library finds out by itself.
    const page = header.type === "DATA_PAGE" && header.data_page_header
      ? pageV1(header, levels, column, () => unpack(bytes, whole))
      : header.type === "DATA_PAGE_V2" && header.data_page_header_v2
      ? pageV2(header, levels, column, bytes, unpack)
      : undefined;
    if (!page) continue;
    if (!(page.values >= 0 && page.values <= left)) {
      throw new Error(`a page counts ${page.values} values where ${left} are left`);
    }
    left -= page.values;
    checkRuns(page);
  }
}

/** Bits in which the levels of a column are written; 0 where there are none. */
interface Levels {
  repetition: number;
  definition: number;
}

/** Values written in runs: levels of nesting, or places in a dictionary. */
interface Runs {
  view: DataView;
  /** Bytes: where they begin, and where they end at the latest. */
  from: number;
  to: number;
  /** Bits of a value. */
  width: number;
  /** Levels are as many as the page's values; places fewer, where there are nulls. */
  all: boolean;
}

interface Page {
  /** Values, nulls included. */
  values: number;
  runs: () => Runs[];
}

const inDictionary = (encoding: string) => encoding === "PLAIN_DICTIONARY" || encoding === "RLE_DICTIONARY";

/** Levels, each behind its length, then the values. */
function pageV1(
  header: PageHeader,
  levels: Levels,
  { type }: ColumnMetaData,
  unpack: () => Uint8Array,
): Page {
  const { num_values: values, encoding } = header.data_page_header!;
  return {
    values,
    runs() {
      const view = viewOf(unpack());
      const found: Runs[] = [];
      let at = 0;
      const behindLength = (width: number, all: boolean) => {
        const from = at + 4, to = from + view.getUint32(at, true);
        found.push({ view, from, to: Math.min(to, view.byteLength), width, all });
        at = to;
      };
      if (levels.repetition) behindLength(levels.repetition, true);
      if (levels.definition) behindLength(levels.definition, true);
      if (type === "BOOLEAN" && encoding === "RLE") behindLength(1, false);
      else if (inDictionary(encoding)) found.push(placesAt(view, at));
      return found;
    },
  };
}

/** Levels, whose lengths the header has, as they are, then the values, packed. */
function pageV2(
  header: PageHeader,
  levels: Levels,
  { type }: ColumnMetaData,
  bytes: Uint8Array,
  unpack: (packed: Uint8Array, size: number) => Uint8Array,
): Page {
  const {
    num_values: values,
    num_nulls: nulls,
    num_rows: rows,
    encoding,
    repetition_levels_byte_length: repetition,
    definition_levels_byte_length: definition,
    is_compressed: packed,
  } = header.data_page_header_v2!;
  return {
    values,
    runs() {
      const first = repetition + definition;
      if (!(repetition >= 0 && definition >= 0 && first <= bytes.length)) {
        throw new Error(
          `levels of ${repetition} and ${definition} bytes are not in a page of ${bytes.length}`,
        );
      }
      if (!(nulls >= 0 && nulls <= values && rows >= 0 && rows <= values)) {
        throw new Error(`a page counts ${nulls} nulls and ${rows} rows in ${values} values`);
      }
      const view = viewOf(bytes), found: Runs[] = [];
      if (levels.repetition) {
        found.push({ view, from: 0, to: repetition, width: levels.repetition, all: true });
      }
      if (levels.definition) {
        found.push({ view, from: repetition, to: first, width: levels.definition, all: true });
      }
      const rest = bytes.subarray(first), size = header.uncompressed_page_size - first;
      const unpacked = viewOf(packed === false ? rest : unpack(rest, size));
      if (type === "BOOLEAN" && encoding === "RLE") {
        found.push({ view: unpacked, from: 4, to: unpacked.byteLength, width: 1, all: false });
      } else if (inDictionary(encoding)) found.push(placesAt(unpacked, 0));
      return found;
    },
  };
}

/** Places in a dictionary stand behind a byte with their width. */
function placesAt(view: DataView, at: number): Runs {
  return { view, from: at + 1, to: view.byteLength, width: view.getUint8(at), all: false };
}

/** @throws Error where a run has more values than are left, or than there are bytes for */
function checkRuns({ values, runs }: Page): void {
  for (const { view, from, to, width, all } of runs()) {
    const reader = { view, offset: from };
    let seen = 0;
    while (width > 0 && seen < values && (all || reader.offset < to)) {
      const header = readVarInt(reader), length = header >>> 1;
      if (header & 1) {
        // Eight values a group, bit by bit.
        reader.offset += length * width;
        seen += 8 * length;
      } else {
        if (length > values - (all ? seen : 0)) {
          throw new Error(`a run has ${length} values where ${values - seen} are left`);
        }
        reader.offset += width + 7 >> 3;
        seen += length;
      }
      if (reader.offset > view.byteLength) throw new Error(`a run of ${length} ends outside its page`);
    }
  }
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const bitWidth = (most: number) => 32 - Math.clz32(most);
