// A volume in three dimensions: isosurfaces of Q and maximum projections, marched along rays on the GPU.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import {
  BackSide,
  BoxGeometry,
  Data3DTexture,
  DataTexture,
  EdgesGeometry,
  GLSL3,
  LineBasicMaterial,
  LinearFilter,
  LineSegments,
  Mesh,
  PerspectiveCamera,
  RedFormat,
  RGBAFormat,
  Scene,
  ShaderMaterial,
  Vector3,
  WebGLRenderer,
} from "three";
import { MAPS } from "./colours";
import { range, type Field } from "./field";
import { useGestures } from "./gestures";
import { Choice } from "./parts";

const VERTEX = `
out vec3 place;
void main() {
  place = position;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}`;

// Rays run through the box from its back faces' points towards the eye; textures lie in the unit cube.
const FRAGMENT = `
precision highp float;
precision highp sampler3D;
in vec3 place;
out vec4 colour;
uniform sampler3D shape, tint;
uniform sampler2D map;
uniform vec3 eye, size, cell;
uniform float level;
uniform bool project;

vec3 inside(vec3 p) { return p / size + 0.5; }
float at(vec3 p) { return texture(shape, inside(p)).r; }

void main() {
  vec3 ray = normalize(place - eye);
  vec3 slow = (-0.5 * size - eye) / ray, fast = (0.5 * size - eye) / ray;
  vec3 near = min(slow, fast), far = max(slow, fast);
  float begin = max(0.0, max(near.x, max(near.y, near.z)));
  float end = min(far.x, min(far.y, far.z));
  float most = 0.0, jump = min(cell.x, min(cell.y, cell.z)) * 0.7;
  for (float t = begin; t < end; t += jump) {
    vec3 p = eye + t * ray;
    float value = at(p);
    if (project) { most = max(most, value); continue; }
    if (value < level) continue;
    // Between the last two steps the surface is crossed: halve the way to it.
    float low = t - jump, high = t;
    for (int i = 0; i < 5; i++) {
      float middle = 0.5 * (low + high);
      if (at(eye + middle * ray) < level) low = middle; else high = middle;
    }
    p = eye + high * ray;
    vec3 slope = vec3(
      at(p + vec3(cell.x, 0, 0)) - at(p - vec3(cell.x, 0, 0)),
      at(p + vec3(0, cell.y, 0)) - at(p - vec3(0, cell.y, 0)),
      at(p + vec3(0, 0, cell.z)) - at(p - vec3(0, 0, cell.z)));
    vec3 normal = -normalize(slope + 1e-6);
    vec3 light = normalize(vec3(0.4, 0.9, 0.5) - 0.6 * ray);
    float bright = 0.35 + 0.65 * max(0.0, dot(normal, light));
    float shine = 0.25 * pow(max(0.0, dot(reflect(ray, normal), light)), 24.0);
    vec3 paint = texture(map, vec2(0.15 + 0.8 * texture(tint, inside(p)).r, 0.5)).rgb;
    colour = vec4(paint * bright + shine, 1.0);
    return;
  }
  if (!project) discard;
  vec3 paint = texture(map, vec2(most, 0.5)).rgb;
  colour = vec4(paint, smoothstep(0.05, 0.5, most));
}`;

/** Values as bytes, from 0 to the top of their range. */
function texture(values: Float32Array, cells: number[], top: number): Data3DTexture {
  const data = Uint8Array.from(values, (value) => Math.max(0, Math.min(255, (255 * value) / top)));
  const found = new Data3DTexture(data, cells[2], cells[1], cells[0]);
  found.format = RedFormat;
  found.minFilter = found.magFilter = LinearFilter;
  found.unpackAlignment = 1;
  found.needsUpdate = true;
  return found;
}

function colours(): DataTexture {
  const found = new DataTexture(new Uint8Array(MAPS.sequential.buffer), 256, 1, RGBAFormat);
  found.minFilter = found.magFilter = LinearFilter;
  found.needsUpdate = true;
  return found;
}

interface Stage {
  show: (field: Field) => void;
  set: (level: number, project: boolean) => void;
  turn: (yaw: number, pitch: number, zoom: number) => void;
  close: () => void;
}

function stage(canvas: HTMLCanvasElement): Stage {
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  renderer.setPixelRatio(Math.min(2, devicePixelRatio));
  const camera = new PerspectiveCamera(32, 1, 0.1, 10);
  const material = new ShaderMaterial({
    glslVersion: GLSL3,
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    side: BackSide,
    transparent: true,
    uniforms: {
      shape: { value: null },
      tint: { value: null },
      map: { value: colours() },
      eye: { value: new Vector3() },
      size: { value: new Vector3(1, 1, 1) },
      cell: { value: new Vector3() },
      level: { value: 0.3 },
      project: { value: false },
    },
  });
  const scene = new Scene();
  const box = new Mesh(new BoxGeometry(), material);
  const edges = new LineSegments(new EdgesGeometry(new BoxGeometry()), new LineBasicMaterial({ color: 0x888888, transparent: true, opacity: 0.5 }));
  scene.add(box, edges);
  const view = { yaw: 0.7, pitch: 0.45, distance: 3.1 };
  let waits = 0;
  const draw = () => {
    waits ||= requestAnimationFrame(() => {
      waits = 0;
      const { clientWidth: width, clientHeight: height } = canvas;
      renderer.setSize(width, height, false);
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
      const { yaw, pitch, distance } = view;
      camera.position.set(Math.cos(pitch) * Math.sin(yaw), Math.sin(pitch), Math.cos(pitch) * Math.cos(yaw)).multiplyScalar(distance);
      camera.lookAt(0, 0, 0);
      material.uniforms.eye!.value.copy(camera.position);
      renderer.render(scene, camera);
    });
  };
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  const { uniforms } = material;
  const free = () => {
    uniforms.shape!.value?.dispose();
    uniforms.tint!.value?.dispose();
  };
  const source = { shape: null as Field | null };
  return {
    show(field) {
      free();
      source.shape = field;
      const [z, y, x] = field.length as [number, number, number];
      const size = new Vector3(x, y, z).divideScalar(Math.max(x, y, z));
      const q = field.all("q");
      const vorticity = field.all("vorticity");
      uniforms.shape!.value = texture(q, field.cells, 1.5 * range(q)[1]);
      uniforms.tint!.value = texture(vorticity, field.cells, range(vorticity)[1]);
      uniforms.size!.value.copy(size);
      uniforms.cell!.value.set(size.x / field.cells[2], size.y / field.cells[1], size.z / field.cells[0]);
      // The mesh itself has the size, so that a point of it is a point of the box.
      box.geometry.dispose();
      edges.geometry.dispose();
      box.geometry = new BoxGeometry(size.x, size.y, size.z);
      edges.geometry = new EdgesGeometry(box.geometry);
      draw();
    },
    set(level, project) {
      const changed = project !== uniforms.project!.value;
      uniforms.level!.value = level;
      uniforms.project!.value = project;
      if (changed && source.shape) {
        const field = source.shape;
        const values = field.all(project ? "vorticity" : "q");
        uniforms.shape!.value.dispose();
        uniforms.shape!.value = texture(values, field.cells, 1.5 * range(values)[1]);
      }
      draw();
    },
    turn(yaw, pitch, zoom) {
      view.yaw += yaw;
      view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
      view.distance = Math.max(1.2, Math.min(6, view.distance * zoom));
      draw();
    },
    close() {
      observer.disconnect();
      cancelAnimationFrame(waits);
      free();
      renderer.dispose();
    },
  };
}

export function Box({ fields, first }: { fields: Record<string, Field>; first: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const made = useRef<Stage | null>(null);
  const which = useSignal(first);
  const way = useSignal("surface");
  const level = useSignal(0.25);
  const failure = useSignal("");
  useEffect(() => {
    try {
      made.current = stage(canvas.current!);
    } catch {
      failure.value = "This browser draws no WebGL 2, which the box needs.";
    }
    return () => made.current?.close();
  }, []);
  const field = fields[which.value] ?? fields[first]!;
  useEffect(() => made.current?.show(field), [field]);
  useEffect(() => made.current?.set(level.value, way.value === "projection"), [field, level.value, way.value]);
  const gestures = useGestures({
    drag: (dx, dy) => made.current?.turn(-dx / 150, dy / 150, 1),
    pinch: (factor) => made.current?.turn(0, 0, 1 / factor),
  });
  const keys: Record<string, [number, number, number]> = {
    ArrowLeft: [-0.1, 0, 1],
    ArrowRight: [0.1, 0, 1],
    ArrowUp: [0, 0.1, 1],
    ArrowDown: [0, -0.1, 1],
    "+": [0, 0, 0.9],
    "-": [0, 0, 1.1],
  };
  return (
    <div class="box">
      <div class="tools">
        <Choice label="Field in the box" value={which.value} options={Object.keys(fields).map((name) => [name, name])} onChange={(next) => (which.value = next)} />
        <Choice
          label="Drawing"
          value={way.value}
          options={[
            ["surface", "surfaces of Q", "coloured by vorticity"],
            ["projection", "largest vorticity", "along each line of sight"],
          ]}
          onChange={(next) => (way.value = next)}
        />
        {way.value === "surface" && (
          <label class="slider">
            <span>level</span>
            <input type="range" aria-label="Level of Q" min={0.03} max={0.9} step={0.01} value={level.value} onInput={(event) => (level.value = event.currentTarget.valueAsNumber)} />
          </label>
        )}
      </div>
      {failure.value && <p class="note bad">{failure.value}</p>}
      <canvas
        ref={canvas}
        tabIndex={0}
        role="img"
        aria-label={`The ${which.value} field in three dimensions. Arrows turn, plus and minus zoom.`}
        {...gestures}
        onWheel={(event) => {
          event.preventDefault();
          made.current?.turn(0, 0, 2 ** (event.deltaY / 600));
        }}
        onKeyDown={(event) => {
          if (!keys[event.key]) return;
          event.preventDefault();
          made.current?.turn(...keys[event.key]!);
        }}
      />
    </div>
  );
}
