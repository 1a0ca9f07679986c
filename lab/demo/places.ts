/** The models that ship with the demo, by stage: places that every world knows. */
export const demoPlaces = ["base", "sft", "reward", "ppo"] as const;

export function isDemoPlace(place: string): place is typeof demoPlaces[number] {
  return (demoPlaces as readonly string[]).includes(place);
}

/** Where below the shipped folder a place's model lies: the demo's, or one that comes with the notebooks; undefined for all others. */
export function shippedFolder(place: string): string | undefined {
  if (isDemoPlace(place)) return `demo/${place}`;
  return /^notebooks(\/[\w-]+)+$/.test(place) ? place : undefined;
}
