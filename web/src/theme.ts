// Light or dark: as the system has it, until somebody chooses.
import { signal } from "@preact/signals";
import { keep, recall } from "./storage";

const KEY = "eddylift-theme";

export const theme = signal(recall("localStorage", KEY) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
theme.subscribe((value) => (document.documentElement.dataset.theme = value));

export function toggle(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  keep("localStorage", KEY, theme.value);
}
