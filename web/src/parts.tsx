// Small parts that several pages use.
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";

/** One of a few, side by side. */
export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: [T, string, string?][]; onChange: (next: T) => void }) {
  const group = useId();
  return (
    <fieldset class="choice" aria-label={label}>
      {options.map(([key, text, about]) => (
        <label key={key} title={about}>
          <input type="radio" name={group} checked={key === value} onChange={() => onChange(key)} />
          {text}
        </label>
      ))}
    </fieldset>
  );
}

/** A place to drop a file on, or to choose one. */
export function Drop({ label, about, small, onFile }: { label: string; about: string; small?: boolean; onFile: (file: File) => void }) {
  const over = useSignal(false);
  return (
    <label
      class={`drop${small ? " small" : ""}${over.value ? " over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={() => (over.value = false)}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        const file = event.dataTransfer?.files[0];
        if (file) onFile(file);
      }}
    >
      <input
        type="file"
        aria-label={label}
        accept=".npy,.nc,.nc4,.cdf,.h5,.hdf5,.zip"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = "";
          if (file) onFile(file);
        }}
      />
      <b>{label}</b>
      <small>{about}</small>
    </label>
  );
}

/** A size in words. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** A time in words. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
