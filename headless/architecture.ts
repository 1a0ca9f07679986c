/**
 * Which way imports may run, and what each folder may know of the world: headless → lab → kernels, lab/page → lab → kernels. Only headless
 * knows Deno, only lab/page the DOM.
 */

/** A place where the rules are broken, as one sentence that starts with file and line. */
export type Violation = string;

/** A layer of the house by the beginning of its paths, with what it may import. The longest prefix that fits counts. */
const layers: readonly { prefix: string; imports: readonly string[]; packages: boolean; pure: boolean }[] = [
  { prefix: "kernels/", imports: ["kernels/"], packages: false, pure: true },
  { prefix: "lab/", imports: ["lab/", "kernels/", "public/"], packages: true, pure: true },
  {
    prefix: "lab/page/",
    imports: ["lab/page/", "lab/", "kernels/", "public/"],
    packages: true,
    pure: false,
  },
  {
    prefix: "headless/",
    imports: ["headless/", "lab/", "kernels/", "public/"],
    packages: true,
    pure: false,
  },
];

/** What Deno, Node and the DOM put into the world; a pure layer has it passed in instead. */
const worldly: readonly [pattern: RegExp, what: string][] = [
  [/(?<![.\w$])Deno\b/, "Deno"],
  [/(?<![.\w$])process\.(?:env|argv|exit|cwd|stdout|stderr|stdin|on|pid)\b/, "Node's process"],
  [/(?<![.\w$])document\.(?:body|head|title|create\w+|query\w+|getElement\w+|addEventListener)\b/, "the DOM"],
  [/(?<![.\w$])window\./, "the DOM"],
  [
    /(?<![.\w$])(?:HTML\w*Element|localStorage|sessionStorage|requestAnimationFrame|customElements)\b/,
    "the DOM",
  ],
  [/(?<![.\w$])navigator\./, "the navigator"],
];

function layerOf(path: string) {
  return layers.filter(({ prefix }) => path.startsWith(prefix)).sort((a, b) =>
    b.prefix.length - a.prefix.length
  )[0];
}

/**
 * Checks one TypeScript or JavaScript source.
 * @param path from the repository's root, such as `lab/qwen2.ts`; tests and files at the root may do anything
 */
export function violationsIn(path: string, source: string): Violation[] {
  const layer = layerOf(path);
  if (!layer) return [];
  const code = withoutComments(source);
  const lineAt = (index: number) => source.slice(0, index).split("\n").length;
  const found: Violation[] = [];
  for (const { specifier, index } of importsOf(code)) {
    const place = `${path}:${lineAt(index)}`;
    const imported = resolve(path, specifier);
    if (imported === null) {
      if (!layer.packages) {
        found.push(`${place} imports the package "${specifier}"; ${layer.prefix} uses none.`);
      } else if (layer.pure && specifier.startsWith("node:")) {
        found.push(`${place} imports "${specifier}", which a browser lacks; have it passed in.`);
      }
      continue;
    }
    // lab/ itself must not reach into lab/page/, although the path begins alike.
    const into = layerOf(imported)?.prefix ?? imported;
    if (
      !layer.imports.some((prefix) => into === prefix || (!layerOf(imported) && imported.startsWith(prefix)))
    ) {
      found.push(
        `${place} imports ${imported}; ${layer.prefix} may import only ${layer.imports.join(", ")}.`,
      );
    }
  }
  if (layer.pure) {
    const bare = withoutTexts(code);
    for (const [pattern, what] of worldly) {
      const match = pattern.exec(bare);
      if (match) {
        found.push(
          `${path}:${
            lineAt(match.index)
          } uses ${what}; ${layer.prefix} must run anywhere, so have it passed in.`,
        );
      }
    }
  }
  return found;
}

/** All violations in the repository at `root` (a path that ends in "/"), sorted. */
export async function violations(root: string): Promise<Violation[]> {
  const found: Violation[] = [];
  for await (const path of sourcesIn(root)) {
    found.push(...violationsIn(path, await Deno.readTextFile(root + path)));
  }
  return found.sort();
}

/** Paths of the sources in every layer's folder. */
export async function* sourcesIn(root: string, folder = ""): AsyncGenerator<string> {
  const folders = folder === "" ? ["kernels/", "lab/", "headless/"] : [];
  for (const one of folders) yield* sourcesIn(root, one);
  if (folder === "") return;
  for await (const { name, isDirectory } of Deno.readDir(root + folder)) {
    if (isDirectory) yield* sourcesIn(root, `${folder}${name}/`);
    else if (/\.(?:ts|tsx|js|mjs)$/.test(name)) yield folder + name;
  }
}

/** The module specifiers that a source names: static, dynamic, re-exported, and imported types. */
export function importsOf(code: string): { specifier: string; index: number }[] {
  const form = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(["'])([^"'\n]+)\1/g;
  return Array.from(code.matchAll(form), (match) => ({ specifier: match[2], index: match.index }));
}

/** A relative specifier as a path from the root; null for a package. */
function resolve(path: string, specifier: string): string | null {
  if (!/^\.{0,2}\//.test(specifier)) return null;
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

const texts = String.raw`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|` + "`(?:[^`\\\\]|\\\\[^])*`";
const regex = String
  .raw`(?<=[(,=:[!&|?{};\n]\s*)/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[dgimsuvy]*`;

/** Comments blanked; positions stay. */
function withoutComments(source: string): string {
  const form = new RegExp(`(${texts}|${regex})|//[^\\n]*|/\\*[^]*?\\*/`, "g");
  return source.replace(form, (match, kept) => kept ?? blank(match));
}

/** Texts and regular expressions blanked too; what stands in \${} is not looked at. */
function withoutTexts(code: string): string {
  return code.replace(new RegExp(`${texts}|${regex}`, "g"), blank);
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, " ");
}
