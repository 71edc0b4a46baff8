// The rows of a log: as many as fit on the screen, of any number of lines.

import { useVirtualizer } from "@tanstack/react-virtual";
import {
  type ReactNode,
  type Ref,
  useCallback,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import type { LogEvent } from "../api/client";
import type { Group, Rows } from "./groups";
import { type ReadOn, Row } from "./row";
import { Scrollbar, type ScrollMark } from "./scrollbar";
import type { Selection } from "./selection";
import type { LineStore } from "./store";
import type { TimeStyle } from "./time";
import styles from "./viewer.module.css";

/** Rows that are laid out at once: browsers end at some ten million pixels. */
const WINDOW_ROWS = 300_000;
const ROW_PIXELS = 20;
const EDGE_ROWS = 2_000;
const SCROLLER_ID = "log-rows";
/** Scrolling goes on for a while after what began it. */
const INPUT_MS = 600;
const UP_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);
const SCROLL_KEYS = new Set([...UP_KEYS, "ArrowDown", "PageDown", "End", " "]);

export interface ViewerHandle {
  /** Shows a line in the middle. */
  show: (line: number) => void;
  showEnd: () => void;
  focus: () => void;
}

export interface ViewerProps {
  store: LineStore;
  events: readonly LogEvent[];
  readOn: ReadOn;
  rows: Rows;
  groups: ReadonlyMap<number, Group>;
  folded: ReadonlySet<number>;
  marks: ReadonlyMap<number, "error" | "warning">;
  hits: ReadonlySet<number>;
  ticks: readonly ScrollMark[];
  current: number | null;
  selection: Selection | null;
  times: TimeStyle;
  startUs: number;
  wrap: boolean;
  /** Keep the end in sight. */
  live: boolean;
  onSelect: (number: number, extend: boolean) => void;
  onFold: (number: number) => void;
  /** The reader has scrolled; atEnd: the last row is in sight. */
  onScrolled: (atEnd: boolean) => void;
  handle: Ref<ViewerHandle>;
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}

export function Viewer(props: ViewerProps): ReactNode {
  const { store, rows, live, wrap, onScrolled } = props;
  useSyncExternalStore(store.subscribe, store.snapshot);
  const scroller = useRef<HTMLDivElement>(null);
  const [base, setBase] = useState(0);
  const target = useRef<{ row: number; align: "start" | "center" | "end" } | null>(null);
  // When the reader last did something that scrolls; other scrolling is this component's own.
  const input = useRef(Number.NEGATIVE_INFINITY);

  const count = Math.min(WINDOW_ROWS, Math.max(0, rows.count - base));
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PIXELS,
    overscan: 12,
    getItemKey: useCallback((index: number) => rows.lineOf(base + index), [rows, base]),
  });

  const goTo = useCallback(
    (row: number, align: "start" | "center" | "end") => {
      const wanted = clamp(row, 0, Math.max(0, rows.count - 1));
      if (wanted < base || wanted >= base + WINDOW_ROWS || (base > 0 && wanted - base < EDGE_ROWS)) {
        target.current = { row: wanted, align };
        setBase(clamp(wanted - (WINDOW_ROWS >> 1), 0, Math.max(0, rows.count - WINDOW_ROWS)));
        return;
      }
      virtual.scrollToIndex(wanted - base, { align });
    },
    [base, rows, virtual],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: after the window has moved, once
  useLayoutEffect(() => {
    const wanted = target.current;
    if (wanted === null) return;
    target.current = null;
    virtual.scrollToIndex(wanted.row - base, { align: wanted.align });
  }, [base]);

  useImperativeHandle(
    props.handle,
    () => ({
      show: (line) => goTo(rows.rowOf(line), "center"),
      showEnd: () => goTo(rows.count - 1, "end"),
      focus: () => scroller.current?.focus(),
    }),
    [goTo, rows],
  );

  useLayoutEffect(() => {
    if (live && rows.count > 0) goTo(rows.count - 1, "end");
  }, [live, rows, goTo]);

  const items = virtual.getVirtualItems();
  const firstRow = base + (items[0]?.index ?? 0);
  const lastRow = base + (items.at(-1)?.index ?? 0);
  const { version } = store;
  // biome-ignore lint/correctness/useExhaustiveDependencies: asks again for what is still missing when something came
  useEffect(() => {
    const lines: number[] = [];
    for (let row = firstRow; row <= Math.min(lastRow, rows.count - 1); row++) lines.push(rows.lineOf(row));
    store.wantLines(lines);
  }, [store, rows, firstRow, lastRow, version]);

  const onScroll = useCallback(() => {
    const box = scroller.current;
    if (box === null) return;
    const atEnd = base + count >= rows.count && box.scrollHeight - box.scrollTop - box.clientHeight < 2 * ROW_PIXELS;
    if (atEnd && performance.now() - input.current < INPUT_MS) onScrolled(true);
    const index = Math.floor(box.scrollTop / ROW_PIXELS);
    const nearBegin = base > 0 && index < EDGE_ROWS;
    const nearEnd = base + count < rows.count && count - index < EDGE_ROWS;
    if (nearBegin || nearEnd) {
      const first = virtual.getVirtualItems().find((item) => item.end > box.scrollTop);
      if (first !== undefined) {
        const row = base + first.index;
        target.current = { row, align: "start" };
        setBase(clamp(row - (WINDOW_ROWS >> 1), 0, Math.max(0, rows.count - WINDOW_ROWS)));
      }
    }
  }, [base, count, rows, onScrolled, virtual]);

  // Of all numbers one is a tab stop: arrows go from there to the others.
  const [focused, setFocused] = useState<number | null>(null);
  const toFocus = useRef(false);
  const moveFocus = (event: React.KeyboardEvent): boolean => {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (step === 0 || focused === null) return false;
    event.preventDefault();
    if (step < 0) onScrolled(false);
    const row = clamp(rows.rowOf(focused) + step, 0, rows.count - 1);
    toFocus.current = true;
    setFocused(rows.lineOf(row));
    if (row >= base && row < base + count) virtual.scrollToIndex(row - base, { align: "auto" });
    return true;
  };
  useEffect(() => {
    if (!toFocus.current || focused === null) return;
    const number = scroller.current?.querySelector<HTMLElement>(`[data-line="${focused}"] [data-number]`);
    if (number === null || number === undefined) return;
    toFocus.current = false;
    number.focus({ preventScroll: true });
  });

  const onWheel = (event: React.WheelEvent): void => {
    input.current = performance.now();
    if (event.deltaY < 0) onScrolled(false);
  };
  const onTouchMove = (): void => {
    input.current = performance.now();
    onScrolled(false);
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.target instanceof HTMLElement && event.target.dataset.number !== undefined && moveFocus(event)) return;
    if (!SCROLL_KEYS.has(event.key)) return;
    input.current = performance.now();
    if (UP_KEYS.has(event.key)) onScrolled(false);
    // The browser's own would go to the end of the window of rows, not of the log.
    if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      goTo(event.key === "Home" ? 0 : rows.count - 1, event.key === "Home" ? "start" : "end");
    }
  };

  const visible = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 600) / ROW_PIXELS));
  const topItem = items.find((item) => item.end > (virtual.scrollOffset ?? 0));
  const scrollTo = useCallback(
    (row: number) => {
      onScrolled(row + visible >= rows.count);
      goTo(row, "start");
    },
    [goTo, onScrolled, rows, visible],
  );
  const selection = props.selection;
  const inSight = items.map((item) => rows.lineOf(base + item.index));
  const tabStop =
    [focused, selection?.first, topItem === undefined ? undefined : rows.lineOf(base + topItem.index)].find(
      (line) => typeof line === "number" && inSight.includes(line),
    ) ?? inSight[0];

  return (
    <div className={styles.frame}>
      <div
        ref={scroller}
        id={SCROLLER_ID}
        className={`${styles.scroller} ${wrap ? styles.wrap : ""}`}
        tabIndex={0}
        role="region"
        aria-label="Log"
        onScroll={onScroll}
        onWheel={onWheel}
        onTouchMove={onTouchMove}
        onKeyDown={onKeyDown}
      >
        <div className={styles.sizer} style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const number = rows.lineOf(base + item.index);
            const group = props.groups.get(number);
            return (
              <div
                key={item.key}
                ref={virtual.measureElement}
                data-index={item.index}
                className={styles.placed}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <Row
                  number={number}
                  line={store.get(number)}
                  absent={store.isAbsent(number)}
                  events={props.events}
                  readOn={props.readOn}
                  times={props.times}
                  startUs={props.startUs}
                  selected={selection !== null && selection.first <= number && number <= selection.last}
                  mark={props.marks.get(number)}
                  hit={props.hits.has(number)}
                  current={props.current === number}
                  group={group === undefined ? undefined : props.folded.has(number) ? "folded" : "open"}
                  depth={group?.depth ?? 0}
                  tabStop={number === tabStop}
                  onFocusNumber={setFocused}
                  onSelect={props.onSelect}
                  onFold={props.onFold}
                />
              </div>
            );
          })}
        </div>
      </div>
      <Scrollbar
        rows={rows.count}
        first={base + (topItem?.index ?? 0)}
        visible={visible}
        marks={props.ticks}
        controls={SCROLLER_ID}
        onScroll={scrollTo}
      />
    </div>
  );
}
