// The scrollbar of a log: the browser's own ends at some ten million pixels, and has no place for marks.

import { type ReactNode, useCallback, useRef } from "react";
import styles from "./viewer.module.css";

export interface ScrollMark {
  row: number;
  kind: "error" | "warning" | "hit";
}

interface ScrollbarProps {
  rows: number;
  first: number;
  visible: number;
  marks: readonly ScrollMark[];
  controls: string;
  onScroll: (row: number) => void;
}

/** More marks than this can't be told apart on any screen. */
const MAX_DRAWN = 600;
const MIN_THUMB = 0.03;

/** One mark per place that can be told apart, errors before warnings. */
export function drawn(marks: readonly ScrollMark[], rows: number): { place: number; kind: ScrollMark["kind"] }[] {
  const rank = { hit: 3, error: 2, warning: 1 };
  const places = new Map<number, ScrollMark["kind"]>();
  for (const mark of marks) {
    const place = Math.floor((mark.row / Math.max(1, rows)) * MAX_DRAWN);
    const there = places.get(place);
    if (there === undefined || rank[there] < rank[mark.kind]) places.set(place, mark.kind);
  }
  return [...places].map(([place, kind]) => ({ place: place / MAX_DRAWN, kind }));
}

export function Scrollbar({ rows, first, visible, marks, controls, onScroll }: ScrollbarProps): ReactNode {
  const track = useRef<HTMLDivElement>(null);
  const grip = useRef(0);
  const size = Math.max(MIN_THUMB, Math.min(1, visible / Math.max(1, rows)));
  const range = Math.max(1, rows - visible);
  const top = Math.min(1, first / range) * (1 - size);

  const place = useCallback(
    (clientY: number) => {
      const box = track.current?.getBoundingClientRect();
      if (box === undefined) return;
      const fraction = ((clientY - box.top) / box.height - grip.current) / Math.max(0.001, 1 - size);
      onScroll(Math.round(Math.max(0, Math.min(1, fraction)) * range));
    },
    [onScroll, range, size],
  );

  return (
    <div
      ref={track}
      className={styles.track}
      role="scrollbar"
      aria-controls={controls}
      aria-orientation="vertical"
      aria-label="Place in the log"
      aria-valuemin={1}
      aria-valuemax={Math.max(1, rows)}
      aria-valuenow={Math.min(rows, first + 1)}
      tabIndex={-1}
      onMouseDown={(event) => {
        // Keys go on scrolling the rows.
        event.preventDefault();
        document.getElementById(controls)?.focus();
      }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        const box = event.currentTarget.getBoundingClientRect();
        const at = (event.clientY - box.top) / box.height;
        grip.current = at >= top && at <= top + size ? at - top : size / 2;
        event.currentTarget.setPointerCapture(event.pointerId);
        place(event.clientY);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) place(event.clientY);
      }}
    >
      {drawn(marks, rows).map((mark) => (
        <span
          key={`${mark.kind}${mark.place}`}
          className={`${styles.tick} ${styles[`tick-${mark.kind}`] ?? ""}`}
          style={{ top: `${mark.place * 100}%` }}
        />
      ))}
      {size < 1 ? <div className={styles.thumb} style={{ top: `${top * 100}%`, height: `${size * 100}%` }} /> : null}
    </div>
  );
}
