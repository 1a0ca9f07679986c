/** A notebook out of the page: as a file, as a link that carries it, as a page to read. Loaded when somebody shares. */
import { notebookHtml } from "../../notebook/html.ts";
import { type Notebook, serialiseNotebook } from "../../notebook/ipynb.ts";
import { fromFragment, safeLinkLength, toFragment, withoutOutputs } from "../../notebook/share.ts";

/** @returns what to tell the reader, if anything */
export async function share(
  notebook: Notebook,
  title: string,
  how: "ipynb" | "link" | "html",
): Promise<string> {
  if (how === "ipynb") {
    return download(fileName(title, "ipynb"), "application/x-ipynb+json", serialiseNotebook(notebook));
  }
  if (how === "html") {
    return download(fileName(title, "html"), "text/html", notebookHtml(notebook, title).toString());
  }
  const page = location.href.replace(/#.*$/, "");
  let link = page + await toFragment(notebook), what = "The link";
  if (link.length > safeLinkLength) {
    link = page + await toFragment(withoutOutputs(notebook));
    what = "The link, without outputs, which would have made it too long,";
  }
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    history.replaceState(null, "", link);
    return `${what} is in the address bar: ${size(link)}.`;
  }
  const long = link.length > safeLinkLength
    ? " Some programs cut links that are so long: a file is safer."
    : "";
  return `${what} is copied: ${size(link)}. It carries the notebook itself, and no server sees it.${long}`;
}

function size(link: string): string {
  return `${link.length.toLocaleString("en")} characters`;
}

function download(name: string, type: string, text: string): string {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  return "";
}

function fileName(title: string, ending: string): string {
  const name = title.normalize("NFKD").replace(/[^\w\s-]/g, "").trim().toLowerCase().replace(/\s+/g, "-")
    .slice(0, 60);
  return `${name || "notebook"}.${ending}`;
}

/** The notebook that a link carries, as the bytes of its file. @throws DamagedFileError */
export async function notebookOfLink(address: string): Promise<Uint8Array> {
  return new TextEncoder().encode(serialiseNotebook(await fromFragment(new URL(address).hash)));
}
