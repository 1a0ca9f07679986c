/** The models that ship with the demo, by stage: places that every world knows. */
export const demoPlaces = ["base", "sft", "reward", "ppo"] as const;

export function isDemoPlace(place: string): place is typeof demoPlaces[number] {
  return (demoPlaces as readonly string[]).includes(place);
}
