/** The page's build: lab/page/ and what it imports, beside public/ as it is, into dist/, to be served under any path. */
import { createHash } from "node:crypto";
import { globSync } from "node:fs";
import { build, defineConfig, type Plugin, type Rolldown } from "vite";
import { pagePolicy } from "./lab/page_policy.ts";

/** `import source from "./x.wgsl" with { type: "text" }`, as Deno reads it. */
const wgsl = (): Plugin => ({
  name: "wgsl",
  enforce: "pre",
  transform: (code, id) =>
    id.endsWith(".wgsl") ? { code: `export default ${JSON.stringify(code)};`, moduleType: "js" } : null,
});

const page = decodeURIComponent(new URL("lab/page", import.meta.url).pathname);

/** The policy in every page, before anything could be loaded. */
const policy = (): Plugin => ({
  name: "policy",
  apply: "build",
  transformIndexHtml: () => [{
    tag: "meta",
    attrs: { "http-equiv": "content-security-policy", content: pagePolicy },
    injectTo: "head-prepend",
  }],
});

/** Of the notebook's packages single files are imported as well, which are CommonJS: one copy of the parser is enough. */
const alias = [{ find: /^sucrase$/, replacement: "sucrase/dist/index.js" }];

/**
 * sandbox.html: the document that cells run in, with its script and the kernel's source inside. A sandboxed document has no origin, so that
 * it could not load modules from most servers; and one made of a text would inherit the page's policy, where it needs one of its own.
 */
const sandbox = (): Plugin => ({
  name: "sandbox",
  apply: "build",
  async generateBundle() {
    const [frame, kernel] = [await script("frame"), await script("kernel_worker")];
    const digest = createHash("sha256").update(frame).digest("base64");
    const policy =
      `default-src 'none'; script-src 'sha256-${digest}' 'unsafe-eval' blob:; worker-src blob:; base-uri 'none'; form-action 'none'`;
    // The policy comes first of all, before anything could be loaded.
    const source = `<!doctype html>
<meta http-equiv="content-security-policy" content="${policy}">
<meta charset="utf-8">
<title>Sandbox</title>
<script type="text/plain" id="kernel">${kernel}</script>
<script>${frame}</script>
`;
    this.emitFile({ type: "asset", fileName: "sandbox.html", source });
  },
});

/** A source of the sandbox and all that it imports, as one script that can stand within HTML. */
async function script(name: string): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: "warn",
    publicDir: false,
    plugins: [wgsl()],
    resolve: { alias },
    build: {
      write: false,
      target: "esnext",
      rollupOptions: { input: `${page}/notebook/sandbox/${name}.ts`, output: { format: "iife" } },
    },
  }) as Rolldown.RolldownOutput;
  const [{ code }] = built.output;
  if (built.output.length !== 1) throw new Error(`${name}.ts is not one script.`);
  if (code.includes("<!--")) {
    throw new Error(`${name}.ts has "<!--", after which HTML reads scripts in another way.`);
  }
  return code.trim().replace(/<(?=\/script)/gi, "\\x3c");
}

export default defineConfig({
  root: page,
  publicDir: decodeURIComponent(new URL("public", import.meta.url).pathname),
  base: "./",
  // What is missing is missing: a page in place of a model's file would be taken for the file.
  appType: "mpa",
  plugins: [wgsl(), policy(), sandbox()],
  resolve: { alias },
  worker: { format: "es", plugins: () => [wgsl()] },
  build: {
    outDir: decodeURIComponent(new URL("dist", import.meta.url).pathname),
    emptyOutDir: true,
    target: "esnext",
    rollupOptions: { input: globSync(`${page}/*.html`) },
  },
});
