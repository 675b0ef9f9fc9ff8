// How good an answer is, beside trilinear interpolation.
import { format } from "./parts";
import type { Report } from "./types";

const METRICS: [string, string][] = [
  ["mae_over_rms", "mean absolute error / rms"],
  ["relative_l2", "relative L2 error"],
  ["spectrum_error_low", "error of log₁₀ E, resolved wavenumbers"],
  ["spectrum_error_high", "error of log₁₀ E, beyond the coarse grid"],
  ["kinetic_energy_ratio", "kinetic energy / true"],
  ["enstrophy_ratio", "enstrophy / true"],
  ["dissipation_ratio", "dissipation / true"],
  ["divergence", "divergence"],
  ["consistency", "departure from the coarse field"],
  ["mae_near_wall", "mean absolute error at walls, as a velocity"],
];

/** The metrics that there are, as a table. */
export function Metrics({ report }: { report: Report }) {
  const rows = METRICS.flatMap(([key, name]) => {
    const [trilinear, model] = [report.trilinear[key], report.metrics[key]];
    return typeof trilinear === "number" && typeof model === "number" ? [{ name, trilinear, model }] : [];
  });
  const divergence = report.metrics.divergence_reference;
  return (
    <>
      <table>
        <caption class="hidden">Metrics against the truth</caption>
        <thead>
          <tr>
            <th scope="col">against the truth</th>
            <th scope="col">trilinear</th>
            <th scope="col">{report.model}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, trilinear, model }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{format(trilinear)}</td>
              <td>{format(model)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="hint">
        Errors and the departure are best at 0, ratios to the truth at 1{typeof divergence === "number" && `, and the divergence at that of the truth, ${format(divergence)}`}.
      </p>
    </>
  );
}
