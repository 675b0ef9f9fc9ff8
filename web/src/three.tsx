// The box comes only when it is asked for: three.js is larger than all the rest.
import { signal } from "@preact/signals";
import { words } from "./api";
import type { Units } from "./field";
import type { Solid } from "./solid";

interface Props {
  solids: Record<string, Solid>;
  /** Which of them is drawn first. */
  first: string;
  units: Units;
}

const box = signal<typeof import("./box").Box | null>(null);
const failure = signal("");

export async function load(): Promise<void> {
  failure.value = "";
  try {
    box.value = (await import("./box")).Box;
  } catch (error) {
    failure.value = `${words(error)}. Load the page again.`;
  }
}

/** Solids in three dimensions; nothing before the box is there. */
export function Three(props: Props) {
  const Box = box.value;
  if (failure.value) return <p class="note bad">{failure.value}</p>;
  return Box && <Box {...props} />;
}

/** The same, once somebody asks for it. */
export function ThreeOnDemand(props: Props) {
  return box.value || failure.value ? (
    <Three {...props} />
  ) : (
    <button class="start" onClick={() => void load()}>
      Open the box
    </button>
  );
}
