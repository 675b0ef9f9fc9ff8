// How good an answer is, beside trilinear interpolation.
import { format } from "./slice";
import type { Report } from "./types";

const METRICS: [string, string][] = [
  ["mae_over_rms", "mean absolute error / rms"],
  ["relative_l2", "relative L2 error"],
  ["spectrum_error_low", "spectrum, resolved wavenumbers"],
  ["spectrum_error_high", "spectrum, beyond the coarse grid"],
  ["kinetic_energy_ratio", "kinetic energy / true"],
  ["enstrophy_ratio", "enstrophy / true"],
  ["dissipation_ratio", "dissipation / true"],
  ["divergence", "divergence"],
  ["consistency", "departure from the coarse field"],
  ["mae_near_wall", "error at walls"],
];

/** The metrics that there are, as a table. */
export function Metrics({ report }: { report: Report }) {
  const rows = METRICS.flatMap(([key, name]) => {
    const [trilinear, model] = [report.trilinear[key], report.metrics[key]];
    return typeof trilinear === "number" && typeof model === "number" ? [{ name, trilinear, model }] : [];
  });
  return (
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
  );
}
