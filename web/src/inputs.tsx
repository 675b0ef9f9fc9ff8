// What a trial is made from: the field, the model, the boundary.
import { AXES } from "./field";
import type { Naming } from "./input";
import { DropFile } from "./parts";
import * as trial from "./trial";

const ENDS = ["periodic", "wall", "open"];

/** What may be chosen along an axis: also the walls that the field says, with their velocities. */
function endsOf(axis: number): string[] {
  return [...new Set([...ENDS, trial.input.value?.boundary?.[axis] ?? "periodic", trial.ends.value.ends[axis]!])];
}

function NamingField({ option, example }: { option: keyof Naming; example: string }) {
  return (
    <label class="naming">
      {option}
      <input
        value={trial.naming.value[option]}
        placeholder={example}
        autocomplete="off"
        onInput={(event) => (trial.naming.value = { ...trial.naming.value, [option]: event.currentTarget.value.trim() })}
      />
    </label>
  );
}

export function Inputs() {
  const { card, why } = trial.chosen.value;
  const given = trial.input.value;
  const models = trial.cards.value?.models.filter((each) => each.family !== "trilinear") ?? [];
  const levels = trial.levels.value;
  const again = () => given && trial.recompute();
  return (
    <aside class="inputs">
      <section>
        <h2>Coarse field</h2>
        <DropFile label="Drop or choose a file" about=".npy, NetCDF, HDF5 or zipped Zarr" onFiles={(files) => void trial.drop(files)} />
        <details>
          <summary>Names in the file</summary>
          <NamingField option="names" example="Ux:u,Uy:v,Uz:w" />
          <NamingField option="drop" example="p,T" />
          <p class="why">New names of its variables and dims, and variables to leave out: for the next file that you drop.</p>
        </details>
        <p class="or">or a held-out sample</p>
        <div class="samples">
          {trial.samples.value.map((sample) => (
            <button key={sample.name} class={given?.name === sample.name ? "on" : ""} onClick={() => void trial.choose(sample)}>
              {sample.name}
              <small>{sample.cells.join(" × ")}</small>
            </button>
          ))}
        </div>
        {given && (
          <dl class="facts">
            <dt>field</dt>
            <dd>{given.name}</dd>
            <dt>cells z, y, x</dt>
            <dd>{given.shape.slice(-3).join(" × ")}</dd>
            <dt>truth</dt>
            <dd>{trial.truth.value?.name ?? "not known"}</dd>
          </dl>
        )}
        {given && !trial.truth.value && <DropFile kind="small" label="Add the true fine field" about="for errors and spectra" onFiles={(files) => void trial.dropTruth(files)} />}
      </section>
      <section>
        <h2>Model</h2>
        <select
          aria-label="Model"
          value={card?.name}
          onChange={(event) => {
            trial.model.value = event.currentTarget.value;
            again();
          }}
        >
          {models.map((each) => (
            <option key={each.name}>{each.name}</option>
          ))}
        </select>
        <p class="why">{why}</p>
      </section>
      <section>
        <h2>Boundary</h2>
        <div class="ends">
          {AXES.map((each, i) => (
            <label key={each}>
              {each}
              <select
                aria-label={`Boundary along ${each}`}
                value={trial.ends.value.ends[i]}
                onChange={(event) => {
                  const next = [...trial.ends.value.ends];
                  next[i] = event.currentTarget.value;
                  trial.boundary.value = next;
                  again();
                }}
              >
                {endsOf(i).map((end) => (
                  <option key={end}>{end}</option>
                ))}
              </select>
            </label>
          ))}
        </div>
        <p class="why">{trial.ends.value.why}</p>
        {levels > 1 && (
          <label class="level">
            Time level, 0 to {levels - 1}
            <input
              type="number"
              min={0}
              max={levels - 1}
              value={trial.level.value}
              onChange={(event) => {
                trial.level.value = Math.max(0, Math.min(levels - 1, event.currentTarget.valueAsNumber || 0));
                again();
              }}
            />
          </label>
        )}
      </section>
    </aside>
  );
}
