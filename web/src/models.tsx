// Models by their cards: for which flow, how far off, which symmetries they keep, and what their predicted errors are worth.
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { words } from "./api";
import { FAMILY, IRREPS } from "./colours";
import { Alert, format } from "./parts";
import * as trial from "./trial";
import type { Card, Measured } from "./types";

const failure = signal("");

/** What a family is, by its group: O has the rotations of a cube, Oh its reflections too. */
function about({ family, group }: Card): string {
  const moved = group === "Oh" ? "rotated or reflected" : "rotated";
  return {
    trilinear: "interpolation, the baseline",
    conv: "a convolutional network, not equivariant under rotations",
    equivariant: `equivariant: for a ${moved} field it gives the ${moved} answer`,
    relaxed: "equivariant, except where the flow breaks a symmetry",
  }[family];
}

const mean = (run: Measured, key: string) => (run[key] as { mean: number } | undefined)?.mean;

const edges = (cells: number[]) => (new Set(cells).size === 1 ? `${cells[0]}³` : cells.join("×"));

const percent = (share: number) => `${Math.min(100, 100 * share)}%`;

/** Errors on held-out runs over those of trilinear interpolation; a mark is the best linear estimator's. */
function Errors({ card, linear }: { card: Card; linear: Record<string, number> }) {
  const runs = card.measured.filter((run) => mean(run, "mae_over_trilinear") !== undefined);
  return (
    <div class="bars" role="img" aria-label={`Errors of ${card.name} over those of trilinear interpolation on ${runs.length} held-out runs`}>
      {runs.map((run) => {
        const ratio = mean(run, "mae_over_trilinear")!;
        const marked = linear[run.flow];
        return (
          <div key={run.run} title={`${run.run}: ${run.samples} samples, mean absolute error over rms ${format(mean(run, "mae_over_rms") ?? NaN)}${marked ? `; best linear estimator ${marked}` : ""}`}>
            <span>
              {run.flow} <small>{edges(run.cells)}</small>
            </span>
            <i>
              <b style={{ width: percent(ratio), background: FAMILY[card.family] }} />
              {marked && <u style={{ left: percent(marked) }} />}
            </i>
            <em>{ratio.toFixed(2)}</em>
          </div>
        );
      })}
    </div>
  );
}

/** Equivariance errors of the 48 elements of the octahedral group, on a logarithmic axis. */
function Elements({ errors, colour }: { errors: Record<string, number>; colour: string }) {
  const [width, height, low] = [320, 90, -8];
  const y = (error: number) => (height - 8) * (1 - (Math.log10(Math.max(error, 10 ** low)) - low) / -low) + 4;
  const all = Object.entries(errors);
  return (
    <svg class="elements" viewBox={`-26 0 ${width + 30} ${height + 14}`} role="img" aria-label="Equivariance error of each of 48 rotations and reflections">
      {[-8, -4, 0].map((power) => (
        <g key={power}>
          <line x1={0} x2={width} y1={y(10 ** power)} y2={y(10 ** power)} />
          <text x={-4} y={y(10 ** power) + 3} text-anchor="end">
            {power === 0 ? "1" : `1e${power}`}
          </text>
        </g>
      ))}
      <line x1={width / 2} x2={width / 2} y1={0} y2={height} />
      <text x={width / 4} y={height + 12} text-anchor="middle">
        24 rotations
      </text>
      <text x={(3 * width) / 4} y={height + 12} text-anchor="middle">
        24 with reflection
      </text>
      {all.map(([element, error], i) => (
        <circle key={element} cx={((i + 0.5) * width) / all.length} cy={y(error)} r={2.4} fill={colour}>
          <title>
            ({element}): {format(error)}
          </title>
        </circle>
      ))}
    </svg>
  );
}

/** How much of the relaxation weights breaks symmetry: the shares of all irreps but the trivial one, by layer. */
function Irreps({ layers }: { layers: Record<string, Record<string, number>> }) {
  const broken = Object.entries(layers).map(([layer, irreps]) => {
    const shares = Object.entries(irreps).filter(([irrep]) => irrep !== "A1" && irrep !== "A1g");
    return { layer: layer.replace("network.", "").replace("trunk.", "block ").replace("error_head", "error"), shares, sum: shares.reduce((sum, [, share]) => sum + share, 0) };
  });
  const names = broken[0]!.shares.map(([irrep]) => irrep);
  const colour = (i: number) => IRREPS[i % IRREPS.length];
  const top = Math.max(...broken.map(({ sum }) => sum), 1e-6);
  return (
    <>
      <p class="legend">
        {names.map((irrep, i) => (
          <span key={irrep}>
            <i class="dot" style={{ background: colour(i) }} /> {irrep}
          </span>
        ))}
      </p>
      <div class="bars" role="img" aria-label={`Share of the relaxation weights in irreps ${names.join(", ")}, which break symmetry, by layer`}>
        {broken.map(({ layer, shares, sum }) => (
          <div key={layer} title={shares.map(([irrep, share]) => `${irrep} ${(100 * share).toPrecision(2)} %`).join(", ")}>
            <span>{layer}</span>
            <i>
              {shares.map(([irrep, share], i) => (
                <b key={irrep} style={{ width: percent(share / top), background: colour(i) }} />
              ))}
            </i>
            <em>{sum < 1e-4 ? "< 0.01" : (100 * sum).toPrecision(2)} %</em>
          </div>
        ))}
      </div>
    </>
  );
}

/** How often the truth is as close as the model said it would be. */
function Calibration({ card }: { card: Card }) {
  const runs = card.measured.filter((run) => mean(run, "error_coverage_90") !== undefined);
  if (!card.uncertainty.quantiles || !runs.length) return null;
  return (
    <>
      <h3>Predicted errors: how often the truth is within the bounds of 50 % and of 90 %</h3>
      <div class="bars" role="img" aria-label={`How often the truth is within the bounds that ${card.name} predicts, on ${runs.length} held-out runs`}>
        {runs.map((run) => {
          const [half, most] = [mean(run, "error_coverage_50")!, mean(run, "error_coverage_90")!];
          return (
            <div key={run.run} title={`${run.run}: predicted over found ${mean(run, "error_predicted_over_found")!.toFixed(2)}`}>
              <span>{run.flow}</span>
              <i>
                <u style={{ left: "50%" }} />
                <u style={{ left: "90%" }} />
                <s style={{ left: percent(half), background: FAMILY[card.family] }} />
                <s style={{ left: percent(most), background: FAMILY[card.family] }} />
              </i>
              <em>
                {(100 * half).toFixed(0)}, {(100 * most).toFixed(0)} %
              </em>
            </div>
          );
        })}
      </div>
    </>
  );
}

function ModelCard({ card, standard, linear }: { card: Card; standard: boolean; linear: Record<string, number> }) {
  const { equivariance_error: elements, relaxation } = card.symmetry;
  return (
    <li class="model">
      <h2>
        <span class="dot" style={{ background: FAMILY[card.family] }} />
        {card.name} {standard && <small class="tag">default</small>}
      </h2>
      <p>
        {about(card)}
        {card.flow && `; for ${card.flow === "general" ? "any flow" : `${card.flow} flow`}`}
      </p>
      <dl class="facts">
        <dt>factor</dt>
        <dd>{card.factor} along each axis</dd>
        <dt>parameters</dt>
        <dd>{card.parameters.toLocaleString("en")}</dd>
        <dt>sees</dt>
        <dd>
          {card.receptive_field}³ coarse cells{card.frames > 1 ? `, ${card.frames} frames` : ""}
        </dd>
        <dt>boundary</dt>
        <dd>{card.boundary?.join(", ") ?? "any: that of the field"}</dd>
      </dl>
      {card.measured.length > 0 && card.family !== "trilinear" && (
        <>
          <h3>Error relative to trilinear interpolation, held-out runs</h3>
          <Errors card={card} linear={linear} />
        </>
      )}
      {elements && (
        <>
          <h3>Symmetry: equivariance error</h3>
          <Elements errors={elements} colour={FAMILY[card.family]} />
        </>
      )}
      {relaxation && Object.keys(relaxation).length > 0 && (
        <>
          <h3>Broken symmetry: share of each layer's weights</h3>
          <Irreps layers={relaxation} />
        </>
      )}
      <Calibration card={card} />
    </li>
  );
}

export function Models() {
  useEffect(() => {
    failure.value = "";
    trial.load().catch((error) => (failure.value = words(error)));
  }, []);
  const { models, default: standard, linear } = trial.cards.value ?? { models: [], default: null, linear: {} };
  const order = [...models].sort((a, b) => Number(b.name === standard) - Number(a.name === standard) || Number(a.family === "trilinear") - Number(b.family === "trilinear"));
  return (
    <div class="models">
      <h1>Models</h1>
      <p>
        Bars are mean absolute errors on held-out simulations, divided by those of trilinear interpolation: shorter bars are better; 1 is as good as interpolation. The mark on a bar
        is the best linear estimator of that flow.
      </p>
      <Alert of={failure.value} />
      <ul class="cards tall">
        {order.map((card) => (
          <ModelCard key={card.name} card={card} standard={card.name === standard} linear={linear} />
        ))}
      </ul>
    </div>
  );
}
