/** The way from one view of the lab to the others; the same head on every page. */
import { html, LitElement } from "lit";

const views = [
  ["index.html", "Notebook"],
  ["inspect.html", "Inspect"],
  ["runs.html", "Runs"],
  ["referee.html", "Referee"],
] as const;

export class PrecisNav extends LitElement {
  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  /** It heads the page: its own name's link, which no landmark within it has, belongs to this one. */
  override connectedCallback(): void {
    super.connectedCallback();
    this.role ??= "banner";
  }

  override render() {
    const here = /[^/]*$/.exec(location.pathname)![0] || "index.html";
    return html`<a class="name" href="./">Précis</a><nav aria-label="Views">${
      views.map(([file, name]) =>
        html`<a href=${`./${file}`} aria-current=${file === here ? "page" : "false"}>${name}</a>`
      )
    }</nav>`;
  }
}

// The browser would open a dropped file in place of a view that has no use for it.
for (const type of ["dragover", "drop"] as const) {
  addEventListener(type, (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
}

// Parts of a page are loaded when they are wanted. Whoever waits for one that is gone tells the error, and this is what it says.
addEventListener("vite:preloadError", (event) => {
  (event as Event & { payload: Error }).payload.message =
    "A part of this page cannot be loaded: its server is gone, or has a newer page than this one. Reload it.";
});

customElements.define("precis-nav", PrecisNav);
