// Dragging with a mouse or a finger, and pinching with two.
import { useRef } from "preact/hooks";

type Target = HTMLCanvasElement;

export type ScreenPoint = Pick<MouseEvent, "clientX" | "clientY">;

interface Gestures {
  /** By how many pixels of the page the pointer went. */
  drag: (dx: number, dy: number) => void;
  /** By which factor two fingers went apart, and where their middle is. */
  pinch: (factor: number, middle: ScreenPoint) => void;
  /** Where the pointer is while nothing is dragged; null when it leaves. */
  hover?: (event: PointerEvent | null) => void;
}

export function useGestures({ drag, pinch, hover }: Gestures) {
  const { current: pointers } = useRef(new Map<number, PointerEvent>());
  const drop = (event: PointerEvent) => void pointers.delete(event.pointerId);
  return {
    onPointerDown(event: PointerEvent) {
      (event.currentTarget as Target).setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      hover?.(event);
    },
    onPointerMove(event: PointerEvent) {
      const before = pointers.get(event.pointerId);
      if (!before) return hover?.(event);
      const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
      const share = other ? 0.5 : 1;
      drag(share * (event.clientX - before.clientX), share * (event.clientY - before.clientY));
      if (other) {
        const distance = (one: PointerEvent) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
        pinch(distance(event) / Math.max(1, distance(before)), middle);
      }
      pointers.set(event.pointerId, event);
    },
    onPointerUp: drop,
    onPointerCancel: drop,
    onPointerLeave: () => hover?.(null),
  };
}
