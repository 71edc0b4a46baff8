// A list of rows that is drawn as far as it is seen, and asks for more near its end.

import { Text } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useCallback, useEffect, useRef } from "react";
import { useKeptFocus } from "../parts/kept_focus";
import styles from "./access.module.css";

interface RowsProps<Item> {
  label: string;
  columns: readonly string[];
  className: string | undefined;
  items: readonly Item[];
  keyOf: (item: Item) => string;
  more: boolean;
  loadMore: () => void;
  end: string;
  children: (item: Item) => ReactNode;
}

export function Rows<Item>(props: RowsProps<Item>): ReactNode {
  const { label, columns, className, items, keyOf, more, loadMore, end, children } = props;
  const scroller = useRef<HTMLDivElement>(null);
  // Another function each time would have all rows measured anew each time.
  // biome-ignore lint/correctness/useExhaustiveDependencies: what names an entry stays the same
  const getItemKey = useCallback(
    (index: number) => {
      const item = items[index];
      return item === undefined ? index : keyOf(item);
    },
    [items],
  );
  const rows = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 48,
    overscan: 10,
    getItemKey,
  });
  const onFocus = useKeptFocus(scroller, items);
  const drawn = rows.getVirtualItems();
  const last = drawn.at(-1)?.index ?? 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked again when there are more, or others are seen
  useEffect(() => {
    if (more && last >= items.length - 20) loadMore();
  }, [last, items.length, more]);
  return (
    <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label={label} onFocus={onFocus}>
      <div role="table" aria-label={label} aria-rowcount={more ? -1 : items.length + 1}>
        <div role="row" className={`${styles.row} ${className} ${styles.header}`}>
          {columns.map((column) => (
            <span role="columnheader" key={column}>
              {column}
            </span>
          ))}
        </div>
        <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
          {drawn.map((place) => {
            const item = items[place.index];
            return item === undefined ? null : (
              <div
                key={place.key}
                ref={rows.measureElement}
                data-index={place.index}
                role="row"
                aria-rowindex={place.index + 2}
                className={`${styles.row} ${className} ${styles.placed}`}
                style={{ transform: `translateY(${place.start}px)` }}
              >
                {children(item)}
              </div>
            );
          })}
        </div>
      </div>
      <Text size="xs" c="dimmed" px="md" py="sm" role="status">
        {more ? "Loading more" : end}
      </Text>
    </div>
  );
}

/** A cell; its label is only seen where there is no room for a head of columns. */
export function Cell({ label, children }: { label: string; children: ReactNode }): ReactNode {
  return (
    <div role="cell" className={styles.cell}>
      <span className={styles.label} aria-hidden>
        {label}
      </span>
      {children}
    </div>
  );
}
