/** What axe finds wrong with a page: names on controls, contrast, roles. */
import axe from "axe-core";
import type { Page } from "playwright-core";

/** A line for each element that something is wrong with. */
export async function axeFindings(page: Page): Promise<string[]> {
  // Not as a script element: the page's policy has none but its own.
  await page.evaluate(axe.source);
  return await page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary?.slice(0, 300)}`)
    );
  });
}
