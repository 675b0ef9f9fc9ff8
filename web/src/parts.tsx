// Small parts that several pages use.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, TargetedEvent } from "preact";
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

interface DropProps {
  label: string;
  about: string;
  kind?: "small" | "wide";
  accept?: string;
  webkitdirectory?: boolean;
  onTransfer: (transfer: DataTransfer) => void;
  onChange: (event: TargetedEvent<HTMLInputElement>) => void;
}

/** A place to drop files on, or to choose them. */
export function Drop({ label, about, kind, onTransfer, ...input }: DropProps) {
  const over = useSignal(false);
  return (
    <label
      class={`drop ${kind ?? ""} ${over.value ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={() => (over.value = false)}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        if (event.dataTransfer) onTransfer(event.dataTransfer);
      }}
    >
      <input type="file" aria-label={label} {...input} />
      <b>{label}</b>
      <small>{about}</small>
    </label>
  );
}

/** The same for files with a velocity. */
export function DropFile({ onFiles, ...place }: Pick<DropProps, "label" | "about" | "kind"> & { onFiles: (files: File[]) => void }) {
  const take = (files?: FileList | null) => void (files?.length && onFiles([...files]));
  return (
    <Drop
      {...place}
      accept=".npy,.nc,.nc4,.cdf,.h5,.hdf5,.zip"
      onTransfer={(transfer) => take(transfer.files)}
      onChange={(event) => {
        take(event.currentTarget.files);
        // The same file may be chosen again.
        event.currentTarget.value = "";
      }}
    />
  );
}

const PAIR = "[^:,]+:[^:,]+";

/** How to read a volume, where it does not say it itself; as refusals advise. */
export function Options({ said = {} }: { said?: Record<string, string> }) {
  return (
    <>
      <label>
        Boundary
        <input name="boundary" placeholder="of the volume, or the model" defaultValue={said.boundary} />
      </label>
      <label>
        Names
        <input name="names" placeholder="such as Ux:u,Uy:v,Uz:w" pattern={`${PAIR}(,${PAIR})*`} defaultValue={said.names} />
      </label>
      <label>
        Drop
        <input name="drop" placeholder="variables, such as p,T" defaultValue={said.drop} />
      </label>
    </>
  );
}

/** Show what a button opened, which may be out of sight, and give it the focus, so that the keyboard goes on in it. */
export function reveal(element: HTMLElement | null): void {
  element?.focus({ preventScroll: true });
  element?.scrollIntoView();
}

/** What the page answers to whoever is further down in it: it stays in sight. */
export function Notes({ children }: { children: ComponentChildren }) {
  return <div class="notes">{children}</div>;
}

/** What went wrong; nothing if nothing did. */
export function Alert({ of }: { of: string }) {
  return of ? (
    <p class="note bad" role="alert">
      {of}
    </p>
  ) : null;
}

export function Warnings({ of }: { of: string[] }) {
  return of.map((warning) => (
    <p key={warning} class="note warn">
      {warning}
    </p>
  ));
}

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/** A number in four digits. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e5 ? value.toExponential(2) : value.toPrecision(4);
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
