import { assert, assertEquals } from "deno-std/assert/mod.js";
import { notebookHtml } from "../../../lab/notebook/html.ts";
import { type CodeCell, type Output, parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { isSafeLink, markdownHtml } from "../../../lab/notebook/markdown.ts";
import { hostile, hostileNotebook } from "./hostile.ts";
import { notebookOf, richNotebook } from "./notebooks.ts";

/** Every tag of a page with its attributes. Fails on a "<" that opens none, and on an attribute that is not in double quotes. */
function tagsOf(page: string): { name: string; attributes: Map<string, string> }[] {
  return [...page.replace(/<style>[^<]*<\/style>/, "").matchAll(/<([^>]*)(>?)/g)].map(([whole, inside]) => {
    const tag = /^(?:!doctype|\/?[a-z][a-z0-9]*)(?: +[a-z-]+(?:="[^"<>]*")?)* *\/?$/i.exec(
      inside.replaceAll("\n", " "),
    );
    assert(tag, `no tag of ours: ${whole.slice(0, 200)}`);
    const attributes = new Map<string, string>();
    for (const [, name, value = ""] of inside.matchAll(/ ([a-z-]+)(?:="([^"]*)")?/gi)) {
      attributes.set(name.toLowerCase(), value);
    }
    return { name: /^[!/]?\w+/.exec(inside)![0].toLowerCase().replace("/", ""), attributes };
  });
}

const tags = new Set(
  `!doctype html head meta title style body main footer section p a b pre code em strong del ul ol li blockquote br hr img table
  thead tbody tr th td h1 h2 h3 h4 h5 h6 dl dt dd div details summary input`.split(/\s+/),
);
const attributes = new Set(
  `html lang charset http-equiv content name class id href title rel src alt align start type checked disabled aria-label aria-hidden
  download`.split(/\s+/),
);

/** What no reader of a page should meet: tags, attributes and addresses that run something or fetch something. */
function assertHarmless(page: string): void {
  for (const { name, attributes: own } of tagsOf(page)) {
    assert(tags.has(name), `<${name}>`);
    for (const [attribute, value] of own) {
      assert(attributes.has(attribute), `<${name} ${attribute}="${value}">`);
      if (attribute === "src") {
        assert(/^data:image\/(png|jpeg|webp|gif|svg\+xml)[;,]/.test(value), value.slice(0, 80));
      }
      if (attribute === "href") {
        assert(/^(https?:\/\/|mailto:|#|data:application\/x-ipynb\+json;base64,)/i.test(value), value);
      }
    }
  }
}

Deno.test("no markdown brings a script, a style or an address that runs or fetches something", () => {
  for (const source of hostile) {
    assertHarmless(String(markdownHtml(source, { "a.png": { "image/png": "iVBORw0KGgo=" } })));
  }
});

Deno.test("markdown that means no harm is rendered", () => {
  const render = (source: string) =>
    String(markdownHtml(source, { "a b.png": { "image/png": "iVBORw0KGgo=" } })).trim();
  assertEquals(
    render("# A *b*\n\n`c < d` & e"),
    "<h1>A <em>b</em></h1>\n<p><code>c &lt; d</code> &amp; e</p>",
  );
  assertEquals(
    render("[a & b](https://x.y/?p=1&q=2 'T') [m](mailto:a@b.c) [h](#c1)"),
    '<p><a href="https://x.y/?p=1&#38;q=2" title="T" rel="noopener noreferrer">a &amp; b</a> ' +
      '<a href="mailto:a@b.c" rel="noopener noreferrer">m</a> <a href="#c1" rel="noopener noreferrer">h</a></p>',
  );
  assertEquals(
    render("![x](attachment:a%20b.png)"),
    '<p><img src="data:image/png;base64,iVBORw0KGgo=" alt="x"></p>',
  );
  assertEquals(render("[gone](../x)"), "<p>gone</p>");
  for (
    const link of [
      "javascript:1",
      " java\tscript:1",
      "\u0001javascript:1",
      "data:,",
      "file:///x",
      "//a.b",
      "/a",
      "x",
    ]
  ) {
    assertEquals(isSafeLink(link), false, link);
  }
});

Deno.test("whatever a notebook holds, its page is harmless and carries it", () => {
  const notebook = hostileNotebook();
  const page = String(notebookHtml(notebook, `Evil "><script>alert(1)</script>`));
  assertHarmless(page);
  assert(page.includes("default-src &#39;none&#39;") || page.includes("default-src 'none'"));

  const link = tagsOf(page).find(({ attributes }) => attributes.has("download"))!.attributes;
  assert(/^[\w .-]+\.ipynb$/.test(link.get("download")!), link.get("download"));
  const carried = new TextDecoder().decode(Uint8Array.fromBase64(link.get("href")!.split(",")[1]));
  assertEquals(carried, serialiseNotebook(notebook));
  for (let seed = 1; seed <= 100; seed++) assertHarmless(String(notebookHtml(richNotebook(seed), "Rich")));
});

Deno.test("a page shows the best that needs no program", () => {
  const notebook = notebookOf(["1 < 2"]);
  const show = (output: Output) => {
    (notebook.cells[0] as CodeCell).outputs = [output];
    return /<div class="output">([^]*?)<\/div>/.exec(String(notebookHtml(notebook, "t")))![1];
  };
  const bundle = (data: Record<string, unknown>) => show({ output_type: "display_data", data, metadata: {} });
  const tensor = { "application/vnd.precis.tensor+json": { shape: [3] } };
  assertEquals(
    bundle({ ...tensor, "text/plain": "f32[3]", "image/png": "iVBORw0KGgo=\n" }),
    '<img src="data:image/png;base64,iVBORw0KGgo=" alt="f32[3]">',
  );
  assertEquals(
    bundle({ ...tensor, "text/plain": "f32[3] <", "text/html": "<b>" }),
    "<pre>f32[3] &#60;</pre>",
  );
  assert(bundle(tensor).includes("which this page does not draw"));
  assertEquals(
    show({ output_type: "stream", name: "stdout", text: "\u001b[1mbold\u001b[0m" }),
    '<pre class="stdout">bold</pre>',
  );
  const error = {
    output_type: "error" as const,
    ename: "E",
    evalue: "no",
    traceback: ["E: no", "    at cell 1, line 2"],
  };
  assertEquals(show(error), '<pre class="error">E: no\n    at cell 1, line 2</pre>');
  assert(String(notebookHtml(notebook, "t")).includes("<code>1 &#60; 2</code>"));
  assert(
    String(
      notebookHtml(
        parseNotebook("e", new TextEncoder().encode('{"nbformat":4,"nbformat_minor":5,"cells":[]}')),
        "t",
      ),
    ).includes("no cells yet"),
  );
});
