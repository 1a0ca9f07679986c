/** Versions that a run records. */

/** Précis' own version: the one in deno.json would go here; until there is a release, the commit if this is a checkout. */
export async function versions(): Promise<Record<string, string>> {
  return { precis: await commit(), deno: Deno.version.deno, v8: Deno.version.v8 };
}

async function commit(): Promise<string> {
  try {
    const folder = new URL("..", import.meta.url).pathname;
    const { success, stdout } = await new Deno.Command("git", {
      args: ["-C", folder, "describe", "--always", "--dirty"],
      stdout: "piped",
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).trim() : "not a checkout";
  } catch {
    return "not a checkout";
  }
}
