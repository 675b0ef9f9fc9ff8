// The box comes only when it is asked for: three.js is larger than all the rest.
import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { words } from "./api";
import type { Units } from "./field";
import { Alert, reveal } from "./parts";
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

/** Solids in three dimensions; nothing before the box is there. One that a button opened comes into sight. */
export function Three({ opened, ...props }: Props & { opened: boolean }) {
  const place = useRef<HTMLElement>(null);
  const Box = box.value;
  useEffect(() => {
    if (Box && opened) reveal(place.current);
  }, [Box]);
  if (failure.value) return <Alert of={failure.value} />;
  return (
    Box && (
      <section ref={place} tabIndex={-1} aria-label="Box">
        <Box {...props} />
      </section>
    )
  );
}

/** The same, once somebody asks for it. */
export function ThreeOnDemand(props: Props) {
  const opened = useSignal(false);
  const open = () => {
    opened.value = true;
    void load();
  };
  return box.value || failure.value ? (
    <Three {...props} opened={opened.value} />
  ) : (
    <button class="start" onClick={open}>
      Open the box
    </button>
  );
}
