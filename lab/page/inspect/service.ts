/** The inspector's service as the views see it: every answer is waited for. */
import type { InspectService } from "../../inspect/service.ts";
import type { Engine } from "../engine.ts";

export type Inspector = {
  [Name in keyof InspectService]: (
    ...given: Parameters<InspectService[Name]>
  ) => Promise<Awaited<ReturnType<InspectService[Name]>>>;
};

/** What is needed to look at tensors alone. */
export type TensorSource = Pick<Inspector, "overview" | "histogram" | "marginals" | "values" | "rowChanges">;

/** The worker's service; every call is told of a loss of worker or device, as it would never answer then. */
export function inspectorOf(engine: Engine): Inspector {
  const remote = engine.lab.inspect as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>;
  return new Proxy({} as Inspector, {
    // Whoever is handed it may look whether it is something else: a promise, a template's directive.
    get: (_, name) =>
      typeof name !== "string" || name === "then" || name.startsWith("_")
        ? undefined
        : (...given: unknown[]) => engine.unlessLost(remote[name](...given)),
  });
}
