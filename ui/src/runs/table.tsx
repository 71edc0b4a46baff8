// The runs as a table, drawn as far as it is seen.

import { Text } from "@mantine/core";
import { useInterval } from "@mantine/hooks";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, type RefObject, useCallback, useEffect, useState } from "react";
import type { Run } from "../api/client";
import { countText } from "../parts/format";
import { RunRow } from "./row";
import styles from "./runs.module.css";
import type { RunList } from "./use_runs";

const columns = ["State", "Run", "Tasks", "Started", "Took", "Size", "Labels"];
/** Further ones are asked for when so many are left below. */
const LEFT_ROWS = 20;

interface RunTableProps {
  list: RunList;
  scroller: RefObject<HTMLDivElement | null>;
  /** Is told which runs are in sight. */
  inSight: RefObject<readonly Run[]>;
  /** top: nothing is scrolled. */
  onScrolled: (top: boolean) => void;
  onLabel: (label: string) => void;
}

export function RunTable({ list, scroller, inSight, onScrolled, onLabel }: RunTableProps): ReactNode {
  const { runs, more, loadMore } = list;
  const [now, setNow] = useState(Date.now);
  useInterval(() => setNow(Date.now()), 1_000, { autoInvoke: true });
  // Another function each time would have all rows measured anew each time.
  const getItemKey = useCallback((index: number) => runs[index]?.run ?? index, [runs]);
  const rows = useVirtualizer({
    count: runs.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 44,
    overscan: 10,
    getItemKey,
  });
  const items = rows.getVirtualItems();
  inSight.current = items.map((item) => runs[item.index]).filter((run) => run !== undefined);
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= runs.length - LEFT_ROWS) loadMore();
  }, [last, runs.length, loadMore]);
  return (
    <div
      ref={scroller}
      className={styles.scroller}
      tabIndex={0}
      role="region"
      aria-label="Runs"
      onScroll={(event) => onScrolled(event.currentTarget.scrollTop < 10)}
    >
      <div role="table" aria-label="Runs" aria-rowcount={more ? -1 : runs.length + 1}>
        <div role="row" className={`${styles.row} ${styles.header}`}>
          {columns.map((name) => (
            <span role="columnheader" key={name}>
              {name}
            </span>
          ))}
        </div>
        <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
          {items.map((item) => {
            const run = runs[item.index];
            return run === undefined ? null : (
              <div
                key={item.key}
                ref={rows.measureElement}
                data-index={item.index}
                role="row"
                aria-rowindex={item.index + 2}
                className={`${styles.row} ${styles.placed}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <RunRow run={run} now={run.state === "live" ? now : 0} onLabel={onLabel} />
              </div>
            );
          })}
        </div>
      </div>
      <Text size="xs" c="dimmed" px="md" py="sm" role="status">
        {more ? "Loading more" : `${countText(runs.length)} ${runs.length === 1 ? "run" : "runs"}`}
      </Text>
    </div>
  );
}
