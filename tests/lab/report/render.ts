/** Writes the synthetic report to a file, to be looked at: deno run -A tests/lab/report/render.ts report.html */
import { buildReport } from "../../../lab/report/report.ts";
import { syntheticReport } from "./synthetic.ts";

await Deno.writeTextFile(Deno.args[0] ?? "report.html", buildReport(syntheticReport()));
