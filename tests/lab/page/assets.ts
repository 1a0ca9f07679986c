/** What a built page loads before anything is asked of it. */
const dist = decodeURIComponent(new URL("../../../dist", import.meta.url).pathname);

/** Bytes, compressed, of all scripts and style sheets that a page names, and of those that these import as they are loaded. */
export async function compressedBytes(page: string): Promise<number> {
  const html = await Deno.readTextFile(`${dist}/${page}`);
  const rest = Array.from(
    html.matchAll(/(?:src|href)="\.\/assets\/([^"]+\.(?:js|css))"/g),
    ([, name]) => name,
  );
  const needed = new Set<string>();
  let total = 0;
  for (let name = rest.pop(); name; name = rest.pop()) {
    if (needed.has(name)) continue;
    needed.add(name);
    const text = await Deno.readTextFile(`${dist}/assets/${name}`);
    const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
    total += (await new Response(packed).arrayBuffer()).byteLength;
    // Not what import() may fetch later, nor the worker.
    rest.push(
      ...Array.from(text.matchAll(/(?:\bfrom|\bimport)\s*["'`]\.\/([^"'`]+\.js)["'`]/g), ([, name]) => name),
    );
  }
  return total;
}
