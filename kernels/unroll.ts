/**
 * The one thing that WGSL lacks for register blocks: repetition at compile time. Arrays indexed by a loop variable do not stay in
 * registers everywhere, so a kernel's source may say
 *
 *     #for r in rows
 *     var sum$r = vec4f();
 *     #end
 *
 * and its lines are repeated with `$r` replaced by 0, 1, 2, … Names are single letters; loops nest.
 */
export function unroll(source: string, counts: Record<string, number>): string {
  const lines = source.split("\n");
  let at = 0;
  const block = (depth: number): string[] => {
    const out: string[] = [];
    for (; at < lines.length; at++) {
      const line = lines[at];
      const loop = /^\s*#for (\w) in (\w+)\s*$/.exec(line);
      if (loop) {
        const count = counts[loop[2]] ?? Number(loop[2]);
        if (!Number.isInteger(count)) throw new Error(`"${line.trim()}": no count is given for "${loop[2]}"`);
        at++;
        const body = block(depth + 1).join("\n");
        for (let i = 0; i < count; i++) out.push(body.replaceAll("$" + loop[1], String(i)));
      } else if (/^\s*#end\s*$/.test(line)) {
        if (depth === 0) throw new Error("#end without #for");
        return out;
      } else out.push(line);
    }
    if (depth > 0) throw new Error("#for without #end");
    return out;
  };
  return block(0).join("\n");
}
