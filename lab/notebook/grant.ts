/** What a notebook may do beyond computing on the demo's models and data, and what is said where it may not. */
import { mebibytes } from "../../kernels/memory.ts";
import { shippedFolder } from "../demo/places.ts";
import { moduleHost } from "./import_specifiers.ts";

/** What a person allowed a notebook. */
export interface Grant {
  /** Places beyond the shipped ones whose models it may open. */
  models: readonly string[] | "any";
  /** Hosts it may fetch from, "example.org" or "localhost:8000". */
  network: readonly string[];
  /** Hosts that the modules of its import lock may be fetched from, for it and never by it: at addresses that the lock has, and no others. */
  imports: readonly string[] | "any";
  /** Whether it may keep models on this device. */
  storage: boolean;
  /** Whether it may use the GPU at all. */
  gpu: boolean;
  /** Time on the GPU, seconds, from a clean start to the next. */
  gpuSeconds: number;
  /** Of all that its handles hold on the device. */
  deviceBytes: number;
}

/** What a stranger's notebook may do without asking. */
export const strangersGrant: Grant = {
  models: [],
  network: [],
  imports: [moduleHost],
  storage: false,
  gpu: true,
  gpuSeconds: 120,
  deviceBytes: 512 << 20,
};

/** What one's own notebook may do: anything but reach the network. */
export const ownersGrant: Grant = {
  models: "any",
  network: [],
  imports: "any",
  storage: true,
  gpu: true,
  gpuSeconds: Infinity,
  deviceBytes: Infinity,
};

/**
 * A grant with what a notebook declares that it needs (`metadata.lab.needs`): "models" or "model:<place>", "storage",
 * "network:<host>".
 * @param base what it has anyhow
 */
export function grantFor(needs: readonly string[], base: Grant): Grant {
  const after = (prefix: string) =>
    needs.filter((need) => need.startsWith(prefix)).map((need) => need.slice(prefix.length));
  const models = base.models === "any" || needs.includes("models")
    ? "any" as const
    : [...base.models, ...after("model:")];
  const storage = base.storage || needs.includes("storage");
  return { ...base, models, storage, network: [...base.network, ...after("network:")] };
}

/** Whether the modules of a notebook's lock may be fetched from a host. @param grant may be of a time before there was such a thing */
export function mayImportFrom({ imports = strangersGrant.imports }: Partial<Grant>, host: string): boolean {
  return imports === "any" || imports.includes(host);
}

/** A notebook asked for what it was not granted. `need` is what its metadata would have to declare and a person to allow. */
export class NeedRefused extends Error {
  override name = "NeedRefused";

  constructor(readonly need: string, message: string) {
    super(message);
  }
}

/** @throws NeedRefused */
export function requireModel({ models }: Grant, place: string): void {
  if (shippedFolder(place) !== undefined || models === "any" || models.includes(place)) return;
  const need = `model:${place}`;
  throw new NeedRefused(
    need,
    `This notebook may not open the model ${place}; whoever runs it would have to allow "${need}".`,
  );
}

/** @throws NeedRefused */
export function requireStorage({ storage }: Grant): void {
  if (storage) return;
  throw new NeedRefused(
    "storage",
    'This notebook may not keep models on this device; whoever runs it would have to allow "storage".',
  );
}

/** @throws NeedRefused */
export function requireHost({ network }: Grant, url: URL): void {
  if (/^https?:$/.test(url.protocol) && network.includes(url.host)) return;
  const need = `network:${url.host || url.protocol}`;
  throw new NeedRefused(
    need,
    `This notebook may not fetch from ${
      url.host || url.protocol
    }; whoever runs it would have to allow "${need}".`,
  );
}

/** Counts what a notebook has used of its grant. */
export class Meter {
  gpuSeconds = 0;
  deviceBytes = 0;

  constructor(readonly grant: Grant) {}

  /** @throws NeedRefused where there is no time left on the GPU */
  requireGpu(): void {
    if (!this.grant.gpu) {
      throw new NeedRefused(
        "gpu",
        'This notebook may not use the GPU; whoever runs it would have to allow "gpu".',
      );
    }
    if (this.gpuSeconds < this.grant.gpuSeconds) return;
    throw new NeedRefused(
      "gpuSeconds",
      `This notebook has used its ${this.grant.gpuSeconds} s of GPU time; whoever runs it would have to allow more (gpuSeconds).`,
    );
  }

  /** @throws NeedRefused where `bytes` more are too many */
  requireBytes(bytes: number, what: string): void {
    if (this.deviceBytes + bytes <= this.grant.deviceBytes) return;
    throw new NeedRefused(
      "deviceBytes",
      `${what} needs ${mebibytes(bytes)} on the device, where this notebook holds ${
        mebibytes(this.deviceBytes)
      } of the ${mebibytes(this.grant.deviceBytes)} it may; free tensors that are done with.`,
    );
  }
}
