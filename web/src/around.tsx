// What lies around the middle of a picture of a view, in three dimensions.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Units } from "./field";
import { Choice, count } from "./parts";
import { Region, type RegionSpec } from "./region";
import { Three, load } from "./three";

const EDGES = ["64", "128", "256"] as const;
type Edge = (typeof EDGES)[number];

export function Around({ name, units, place }: { name: string; units: Units; place: () => Omit<RegionSpec, "edge"> }) {
  const edge = useSignal<Edge>("64");
  const region = useSignal<Region | null>(null);
  const show = (next: Region | null) => {
    region.value?.close();
    region.value = next;
  };
  const here = () => {
    show(new Region({ ...place(), edge: Number(edge.value) }));
    void load();
  };
  useEffect(() => () => show(null), []);
  const shown = region.value;
  return (
    <section class="three">
      <h2>In three dimensions</h2>
      <div class="tools">
        <Choice
          label="Cells along each side"
          value={edge.value}
          options={EDGES.map((each) => [each, `${each}³`])}
          onChange={(next) => {
            edge.value = next;
            if (shown) here();
          }}
        />
        <button onClick={here}>{shown ? "Move the box here" : "Draw what is in the middle"}</button>
        <output role="status">{shown && !shown.failed.value && (shown.pending.value ? `${count(shown.pending.value, "cube")} to come` : shown.cells.join(" × ") + " cells")}</output>
      </div>
      {shown && <Three solids={{ [name]: shown }} first={name} units={units} opened />}
    </section>
  );
}
