// Rays marched through a solid on the GPU: isosurfaces and maximum projections.
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
import { MOST, type Packed, type Solid } from "./solid";

const VERTEX = `
out vec3 place;
void main() {
  place = position;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}`;

/** The darkest colour of a surface, as a share of the map: black ones would show no shape. */
export const DARKEST = 0.2;

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
    vec3 paint = texture(map, vec2(mix(${DARKEST}, 1.0, ${MOST} * texture(tint, inside(p)).r), 0.5)).rgb;
    colour = vec4(paint * bright + shine, 1.0);
    return;
  }
  if (!project) discard;
  most = min(1.0, ${MOST} * most);
  vec3 paint = texture(map, vec2(most, 0.5)).rgb;
  colour = vec4(paint, smoothstep(0.1, 0.7, most));
}`;

function texture(data: Uint8Array, cells: number[]): Data3DTexture {
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

export interface Stage {
  /** Draw surfaces of one field coloured by another, or the largest values of one. */
  show: (solid: Solid, shape: Packed, tint: Packed | null) => void;
  /** Draw the surface at a level, as a share of what bytes hold. */
  cut: (level: number) => void;
  turn: (yaw: number, pitch: number, zoom: number) => void;
  close: () => void;
}

/** Angle of view, from bottom to top. */
const ANGLE = 32;

export function stage(canvas: HTMLCanvasElement): Stage {
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  renderer.setPixelRatio(Math.min(2, devicePixelRatio));
  const camera = new PerspectiveCamera(ANGLE, 1, 0.1, 20);
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
  const { uniforms } = material;
  const scene = new Scene();
  const box = new Mesh(new BoxGeometry(), material);
  const edges = new LineSegments(new EdgesGeometry(new BoxGeometry()), new LineBasicMaterial({ color: 0x888888, transparent: true, opacity: 0.5 }));
  scene.add(box, edges);
  const view = { yaw: 0.7, pitch: 0.45, distance: 1, radius: 1 };
  let waits = 0;
  const draw = () => {
    waits ||= requestAnimationFrame(() => {
      waits = 0;
      if (!uniforms.shape!.value) return;
      const { clientWidth: width, clientHeight: height } = canvas;
      renderer.setSize(width, height, false);
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
      // At distance 1 the sphere around the box just fits, across and from bottom to top.
      const half = Math.tan((ANGLE * Math.PI) / 360) * Math.min(1, camera.aspect);
      const far = (view.distance * view.radius) / Math.sin(Math.atan(half));
      const { yaw, pitch } = view;
      camera.position.set(Math.cos(pitch) * Math.sin(yaw), Math.sin(pitch), Math.cos(pitch) * Math.cos(yaw)).multiplyScalar(far);
      camera.lookAt(0, 0, 0);
      uniforms.eye!.value.copy(camera.position);
      renderer.render(scene, camera);
    });
  };
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  const free = () => {
    uniforms.shape!.value?.dispose();
    uniforms.tint!.value?.dispose();
  };
  return {
    show({ cells, length }, shape, tint) {
      free();
      const [z, y, x] = length as [number, number, number];
      const size = new Vector3(x, y, z).divideScalar(Math.max(x, y, z));
      uniforms.shape!.value = texture(shape.data, cells);
      uniforms.tint!.value = tint && texture(tint.data, cells);
      uniforms.project!.value = !tint;
      uniforms.size!.value.copy(size);
      uniforms.cell!.value.set(size.x / cells[2], size.y / cells[1], size.z / cells[0]);
      view.radius = size.length() / 2;
      // The mesh itself has the size, so that a point of it is a point of the box.
      box.geometry.dispose();
      edges.geometry.dispose();
      box.geometry = new BoxGeometry(size.x, size.y, size.z);
      edges.geometry = new EdgesGeometry(box.geometry);
      draw();
    },
    cut(level) {
      uniforms.level!.value = level;
      draw();
    },
    turn(yaw, pitch, zoom) {
      view.yaw += yaw;
      view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
      view.distance = Math.max(0.3, Math.min(2, view.distance * zoom));
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
