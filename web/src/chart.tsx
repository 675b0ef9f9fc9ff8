// Lines over logarithmic axes.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { theme } from "./theme";

export interface Line {
  name: string;
  colour: string;
  dash?: number[];
  x: number[];
  y: number[];
}

/** Ends of a logarithmic axis. From 0, as of a fluid at rest, or from more than one digit, such as 0.098, uPlot may draw marks for ever. */
function span(low: number, high: number): [number, number] {
  if (!(low > 0)) return [1, 10];
  const unit = 10 ** Math.floor(Math.log10(low));
  return [unit * Math.floor(low / unit), high];
}

/** Lines over one logarithmic axis of whole numbers; a mark is a vertical line with a word. */
export function LogChart({ lines, x, y, mark, label }: { lines: Line[]; x: string; y: string; mark?: number; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current!;
    const style = getComputedStyle(element);
    const [ink, rule] = [style.getPropertyValue("--faint"), style.getPropertyValue("--rule")];
    const places = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const columns = lines.map((line) => {
      const found = new Map(line.x.map((place, i) => [place, line.y[i]!]));
      return places.map((place) => (found.get(place)! > 0 ? found.get(place)! : null));
    });
    const top = Math.max(...columns.flat().map((value) => value ?? 0));
    const axis = (name: string): uPlot.Axis => ({
      label: name,
      labelSize: 18,
      labelFont: "12px system-ui",
      font: "11px system-ui",
      stroke: ink,
      grid: { stroke: rule, width: 0.5 },
      ticks: { stroke: rule, width: 0.5, size: 4 },
    });
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: 280,
        legend: { live: false },
        cursor: { drag: { x: false, y: false }, y: false },
        scales: { x: { time: false, distr: 3, range: (_, low, high) => span(low, high) }, y: { distr: 3, range: (_, low, high) => span(Math.max(low / 2, top * 1e-8), high * 2) } },
        axes: [{ ...axis(x), size: 32 }, { ...axis(y), size: 58, values: (_, places) => places.map((value) => (Math.abs(Math.log10(value) % 1) < 1e-6 ? value.toExponential(0) : "")) }],
        series: [
          {},
          ...lines.map(({ name, colour, dash }) => ({ label: name, stroke: colour, width: 2, dash, points: { show: false } })),
        ],
        hooks: {
          draw: [
            ({ ctx, bbox, valToPos }) => {
              if (!mark) return;
              const place = valToPos(mark, "x", true);
              ctx.save();
              ctx.strokeStyle = ctx.fillStyle = ink;
              ctx.setLineDash([4, 4]);
              ctx.beginPath();
              ctx.moveTo(place, bbox.top);
              ctx.lineTo(place, bbox.top + bbox.height);
              ctx.stroke();
              ctx.font = `${11 * devicePixelRatio}px system-ui`;
              ctx.textAlign = "right";
              ctx.fillText("coarse Nyquist", place - 5 * devicePixelRatio, bbox.top + bbox.height - 8 * devicePixelRatio);
              ctx.restore();
            },
          ],
        },
      },
      [places, ...columns] as uPlot.AlignedData,
      element,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 280 }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [lines, mark, theme.value]);
  return <div ref={box} class="chart" role="img" aria-label={label} />;
}
