/** A real browser for tests of the built page: Debian's Chromium, driven headless, WebGPU on its own software adapter. */
import type { Browser } from "playwright-core";

const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome-stable"];

/** Where Chromium is, or null where there is none. */
function findChromium(): string | null {
  for (const place of places) {
    try {
      if (Deno.statSync(place).isFile) return place;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

const executablePath = findChromium();

/** Whether the page can be built and driven: an offline kit brings neither the bundler's nor the driver's code. */
export const canBuild = await import("vite").then(() => true, () => false);

let browser: Promise<Browser> | null = null;

/** The one browser of a test file; close it with {@link closeBrowser} in its last test. */
export function openBrowser(): Promise<Browser> {
  browser ??= launch();
  return browser;
}

async function launch(): Promise<Browser> {
  const { chromium } = await import("playwright-core");
  return await chromium.launch({
    executablePath: executablePath!,
    headless: true,
    // Without the unsafe flag Chromium offers no adapter on Linux without a graphics card.
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--disable-background-networking",
      "--disable-component-update",
    ],
  });
}

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close();
  browser = null;
}

/** A test that is listed as ignored, with the reason, where there is no Chromium or something else is missing. */
export function browserTest(name: string, body: () => Promise<void>, missing?: string): void {
  const why = executablePath === null
    ? `no Chromium at ${places.join(", ")}`
    : canBuild
    ? missing
    : "vite cannot be loaded";
  Deno.test({
    name: why ? `${name} (skipped: ${why})` : name,
    ignore: why !== undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: body,
  });
}
