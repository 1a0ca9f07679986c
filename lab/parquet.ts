/** Rows of Parquet files as plain objects, one row group in memory at a time. The format is read by `hyparquet`. */
import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { DamagedFileError, FileAccessError, type Files, reason } from "./bytes.ts";

/** A Parquet file whose footer has been read. */
export interface ParquetFile {
  path: string;
  rows: number;
  /** Names of the top-level columns. */
  columns: string[];
  buffer: AsyncBuffer;
  metadata: FileMetaData;
}

/**
 * Reads the footer of a Parquet file: what is in it, nothing of the rows themselves.
 * @throws DamagedFileError where the file is not Parquet, or cut short
 */
export async function openParquet(files: Files, path: string): Promise<ParquetFile> {
  const byteLength = await files.size(path);
  const buffer: AsyncBuffer = {
    byteLength,
    async slice(start, end = byteLength) {
      // Offsets come from the file itself.
      if (!(start >= 0 && start <= end && end <= byteLength)) throw new Error("it points outside itself");
      const bytes = await files.readRange(path, start, end);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    },
  };
  return await understood(path, async () => {
    const { parquetMetadataAsync } = await import("hyparquet");
    const { checkFooter } = await import("./parquet_pages.ts");
    const metadata = await parquetMetadataAsync(buffer);
    checkFooter({ metadata, buffer });
    const [root] = metadata.schema;
    const columns: string[] = [];
    // The schema is a tree laid out depth first; what stands one level below the root is a column.
    let at = 1;
    const skip = () => {
      for (let children = metadata.schema[at++].num_children ?? 0; children > 0; children--) skip();
    };
    for (let i = 0; i < (root.num_children ?? 0); i++) {
      columns.push(metadata.schema[at].name);
      skip();
    }
    return { path, rows: Number(metadata.num_rows), columns, buffer, metadata };
  });
}

/** A row with its place in words, "train-00000.parquet, row 12" (rows count from 1). */
export interface ParquetRow {
  place: string;
  fields: Record<string, unknown>;
}

/**
 * Reads the given columns, yielding the rows of one row group after the other. Text that is not UTF-8 is an error.
 * @param columns must all be there
 * @throws DamagedFileError naming the file and, as far as it is known, the rows
 */
export async function* readParquet(
  file: ParquetFile,
  columns: readonly string[],
): AsyncGenerator<ParquetRow[]> {
  const { path, metadata, buffer, rows: total } = file;
  const [{ parquetReadObjects }, { compressors }, { checkPages }] = await Promise.all([
    import("hyparquet"),
    import("hyparquet-compressors"),
    import("./parquet_pages.ts"),
  ]);
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const parsers = {
    stringFromBytes: (bytes: Uint8Array | undefined) => bytes && utf8.decode(bytes),
  };
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    if (rowEnd === rowStart) continue;
    const from = rowStart;
    const rows = await understood(
      `${path}, rows ${from + 1} to ${rowEnd},`,
      async () => {
        await checkPages(file, group, columns, compressors);
        return await parquetReadObjects({
          file: buffer,
          metadata,
          columns: [...columns],
          rowStart: from,
          rowEnd,
          compressors,
          parsers,
        });
      },
    );
    if (rows.length !== rowEnd - rowStart) {
      throw new DamagedFileError(
        `${path}, rows ${from + 1} to ${rowEnd}, holds ${rows.length} rows there; download it again.`,
      );
    }
    yield rows.map((fields, i) => ({ place: `${path}, row ${from + i + 1}`, fields }));
    rowStart = rowEnd;
  }
  if (rowStart !== total) {
    throw new DamagedFileError(
      `${path} says it has ${total} rows, and its row groups have ${rowStart}; download it again.`,
    );
  }
}

/** Whatever the library trips over is damage to the file, unless the file could not be read at all. */
async function understood<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FileAccessError || error instanceof DamagedFileError) throw error;
    throw new DamagedFileError(
      `${place} cannot be read as Parquet (${reason(error as Error)}); download the file again.`,
    );
  }
}
