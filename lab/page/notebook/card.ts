/** The card before a stranger's notebook: what it asks for, what it cannot do, and the choice to let it run. */
import { html, LitElement, nothing } from "lit";
import { type Grant, mayImportFrom, strangersGrant } from "../../notebook/grant.ts";
import { hostsOf } from "../../notebook/import_specifiers.ts";
import { isCode, type Notebook } from "../../notebook/ipynb.ts";
import { isDemoPlace } from "../../demo/places.ts";
import { programDigest } from "./library.ts";
import { keepGrant } from "./storage.ts";

/** The event "allowed" carries the grant. */
export class StrangerCard extends LitElement {
  static override properties = { notebook: { attribute: false }, gpuSeconds: { state: true } };
  declare notebook: Notebook;
  declare private gpuSeconds: number;
  /** Of what it asks for, what the reader allows. */
  private readonly allowed = new Set<string>();

  constructor() {
    super();
    this.gpuSeconds = strangersGrant.gpuSeconds;
  }

  override createRenderRoot() {
    return this;
  }

  private async allow() {
    const places = [...this.allowed].filter((need) => need.startsWith("model:")).map((need) => need.slice(6));
    const hosts = [...this.allowed].filter((need) => need.startsWith("network:")).map((need) =>
      need.slice(8)
    );
    const imports = hostsOf(this.notebook.metadata.lab.imports).filter((host) =>
      mayImportFrom(strangersGrant, host) || this.allowed.has(`modules:${host}`)
    );
    const { gpuSeconds } = this;
    const grant: Grant = { ...strangersGrant, models: places, network: hosts, imports, gpuSeconds };
    // Not kept is asked again.
    await keepGrant(await programDigest(this.notebook), grant).catch(() => {});
    this.dispatchEvent(new CustomEvent<Grant>("allowed", { detail: grant, bubbles: true }));
  }

  override render() {
    const { cells, metadata: { lab } } = this.notebook;
    const code = cells.filter(isCode);
    const calls = new Set(
      code.flatMap(({ source }) => source.match(/\blab\.[a-z]\w*(?:\.[a-z]\w*)?/g) ?? []),
    );
    const proofs = code.reduce((sum, { metadata }) => sum + (metadata.lab?.values?.length ?? 0), 0);
    const asked = lab.needs.filter((need) => /^(model|network):/.test(need));
    const others = lab.needs.filter((need) =>
      !asked.includes(need) && !["gpu", "models"].includes(need) && !isDemoPlace(need)
    );
    const specifiers = Object.keys(lab.imports);
    const shown = specifiers.slice(0, 12).map((one) => one.slice(0, 200));
    const hosts = hostsOf(lab.imports), known = hosts.filter((host) => mayImportFrom(strangersGrant, host));
    const checkbox = (key: string, says: unknown, name: string) =>
      html`
        <div>
          <dt>It asks for</dt>
          <dd><label><input type="checkbox" @change=${(event: Event) => {
            if ((event.target as HTMLInputElement).checked) this.allowed.add(key);
            else this.allowed.delete(key);
          }}> ${says} <code>${name.slice(0, 200)}</code></label></dd>
        </div>
      `;
    return html`
      <section class="stranger" aria-labelledby="stranger-title">
        <h2 id="stranger-title">Somebody else wrote this notebook</h2>
        <p>It can be read as it is. If it runs, it runs in a sandbox: it has no network, none of this browser’s storage and no way to this
              page, and can be interrupted at any time. It can use the lab, and so the GPU, within what you allow here.</p>
        <dl>
              <div><dt>Code</dt><dd>${code.length} ${code.length === 1 ? "cell" : "cells"}${calls.size > 0
                ? html`, which use ${
                  [...calls].sort().slice(0, 12).map((call, i) =>
                    html`${i > 0 ? ", " : ""}<code>${call}</code>`
                  )
                }${calls.size > 12 ? ` and ${calls.size - 12} more` : ""}`
                : nothing}</dd></div>
              <div><dt>Stored results</dt><dd>${proofs === 0
                ? "without proofs"
                : `${proofs} proofs, which Run all holds against what comes out here`}</dd></div>
              <div><dt>GPU</dt><dd><label>at most <input type="number" min="1" max="86400" step="1" .value=${String(
                this.gpuSeconds,
              )}
                @change=${(event: Event) => {
                  const input = event.target as HTMLInputElement;
                  if (input.reportValidity() && input.value !== "") this.gpuSeconds = Number(input.value);
                }}> seconds, and ${strangersGrant.deviceBytes >> 20} MiB on the device</label></dd></div>
              <div><dt>Models</dt><dd>those of the demo</dd></div>
              ${specifiers.length > 0
                ? html`
                  <div>
                    <dt>Imports</dt>
                    <dd>${shown.map((one, i) =>
                      html`${i > 0 ? ", " : ""}<code>${one}</code>`
                    )}${specifiers.length > shown.length
                      ? ` and ${specifiers.length - shown.length} more`
                      : ""}, just as its lock has them; this page fetches ${known.length > 0
                      ? `what is of ${known.join(", ")}`
                      : "none of them unasked"}, and they run in the sandbox, too</dd>
                  </div>
                `
                : nothing}
              ${hosts.filter((host) => !known.includes(host)).map((host) =>
                checkbox(`modules:${host}`, "that this page fetches modules of its lock from the host", host)
              )}
              ${asked.map((need) => {
                const [kind, name] = [need.slice(0, need.indexOf(":")), need.slice(need.indexOf(":") + 1)];
                return checkbox(
                  need,
                  kind === "model" ? "the model" : "what it can fetch from the host",
                  name,
                );
              })}
              ${others.length > 0
                ? html`
                  <div>
                    <dt>Not granted</dt>
                    <dd>${others.map((need) => need.slice(0, 80)).join(", ")}</dd>
                  </div>
                `
                : nothing}
            </dl>
        <p class="row"><button type="button" class="primary" @click=${this
          .allow}>Let it run in the sandbox</button>
              <span class="hint">Or read on: nothing runs until you say so.</span></p>
      </section>
    `;
  }
}

customElements.define("stranger-card", StrangerCard);
