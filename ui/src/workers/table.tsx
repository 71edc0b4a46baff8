// The workers as a table, drawn as far as it is seen.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useCallback, useRef } from "react";
import { useKeptFocus } from "../parts/kept_focus";
import type { KnownWorker } from "./concerns";
import { columns, WorkerRow } from "./row";
import styles from "./workers.module.css";

interface WorkerTableProps {
  workers: readonly KnownWorker[];
  /** The leader's, in milliseconds. */
  now: number;
  /** Bytes a second of a worker; null where it is not known yet. */
  rateOf: (workerId: string) => number | null;
}

export function WorkerTable({ workers, now, rateOf }: WorkerTableProps): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const onFocus = useKeptFocus(scroller, workers);
  // Another function each time would have all rows measured anew each time.
  const getItemKey = useCallback((index: number) => workers[index]?.worker_id ?? index, [workers]);
  const rows = useVirtualizer({
    count: workers.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 56,
    overscan: 10,
    getItemKey,
  });
  return (
    <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Workers" onFocus={onFocus}>
      <div role="table" aria-label="Workers" aria-rowcount={workers.length + 1}>
        <div role="row" className={`${styles.row} ${styles.header}`}>
          {columns.map((column) => (
            <span role="columnheader" key={column}>
              {column}
            </span>
          ))}
        </div>
        <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
          {rows.getVirtualItems().map((item) => {
            const worker = workers[item.index];
            return worker === undefined ? null : (
              <div
                key={item.key}
                ref={rows.measureElement}
                data-index={item.index}
                role="row"
                aria-rowindex={item.index + 2}
                className={`${styles.row} ${styles.placed}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <WorkerRow worker={worker} now={now} rate={rateOf(worker.worker_id)} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
