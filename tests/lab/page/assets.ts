/** What a built page loads, now or later. */
const dist = decodeURIComponent(new URL("../../../dist", import.meta.url).pathname);

/** Bytes, compressed, of all scripts and style sheets that a page names, and of those that these name. */
export async function compressedBytes(page: string): Promise<number> {
  const names = await Array.fromAsync(Deno.readDir(`${dist}/assets`), ({ name }) => name);
  const named = (text: string) => names.filter((name) => /\.(js|css)$/.test(name) && text.includes(name));
  const needed = new Set<string>();
  const rest = named(await Deno.readTextFile(`${dist}/${page}`));
  let total = 0;
  for (let name = rest.pop(); name; name = rest.pop()) {
    if (needed.has(name)) continue;
    needed.add(name);
    const text = await Deno.readTextFile(`${dist}/assets/${name}`);
    const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
    total += (await new Response(packed).arrayBuffer()).byteLength;
    rest.push(...named(text));
  }
  return total;
}
