/** The page's build: lab/page/ and what it imports, beside public/ as it is, into dist/, to be served under any path. */
import { globSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

/** `import source from "./x.wgsl" with { type: "text" }`, as Deno reads it. */
const wgsl = (): Plugin => ({
  name: "wgsl",
  enforce: "pre",
  transform: (code, id) =>
    id.endsWith(".wgsl") ? { code: `export default ${JSON.stringify(code)};`, moduleType: "js" } : null,
});

const page = decodeURIComponent(new URL("lab/page", import.meta.url).pathname);

export default defineConfig({
  root: page,
  publicDir: decodeURIComponent(new URL("public", import.meta.url).pathname),
  base: "./",
  // What is missing is missing: a page in place of a model's file would be taken for the file.
  appType: "mpa",
  plugins: [wgsl()],
  // The notebook imports single files of its as well, which are CommonJS: one copy of its parser is enough.
  resolve: { alias: [{ find: /^sucrase$/, replacement: "sucrase/dist/index.js" }] },
  worker: { format: "es", plugins: () => [wgsl()] },
  build: {
    outDir: decodeURIComponent(new URL("dist", import.meta.url).pathname),
    emptyOutDir: true,
    target: "esnext",
    rollupOptions: { input: globSync(`${page}/*.html`) },
  },
});
