// The tasks of a run, each attempt with its state and when it ran.

import { Anchor, Group, SegmentedControl, Text } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { Link } from "react-router";
import type { Log } from "../api/client";
import { LogState, succeeded } from "../parts/badges";
import { bytesText, countText, momentText, spanText } from "../parts/format";
import { logUrl } from "../parts/links";
import { Empty } from "../parts/states";
import styles from "./run.module.css";
import { type Axis, began, ended } from "./time";

const columns = ["Task", "State", "When", "Took", "Size", "Host"];

function kindOf(log: Log): string | undefined {
  if (log.state === "live") return styles.live;
  if (log.state === "interrupted") return styles.interrupted;
  return succeeded(log) ? styles.good : styles.bad;
}

function Bar({ log, axis, now }: { log: Log; axis: Axis; now: number }): ReactNode {
  const span = axis.to - axis.from;
  const left = ((began(log) - axis.from) / span) * 100;
  const width = Math.max(0.5, ((ended(log, now) - began(log)) / span) * 100);
  return (
    <span
      className={styles.bar}
      title={`${momentText(log.start?.started_at ?? log.created_at)}, ${spanText(ended(log, now) - began(log))}`}
    >
      <span className={kindOf(log)} style={{ left: `${left}%`, width: `${Math.min(width, 100 - left)}%` }} />
    </span>
  );
}

function TaskRow({ log, axis, now }: { log: Log; axis: Axis; now: number }): ReactNode {
  return (
    <>
      <span role="cell" className={styles.name} title={log.task}>
        <Anchor component={Link} to={logUrl(log)} size="sm" fw={500}>
          {log.task}
        </Anchor>
        <Text span c="dimmed" size="sm" className={styles.attempt}>
          #{log.attempt}
        </Text>
      </span>
      <span role="cell" className={styles.state}>
        <LogState log={log} brief />
      </span>
      <span role="cell" className={styles.when}>
        <Bar log={log} axis={axis} now={now} />
      </span>
      <span role="cell" className={styles.number}>
        {spanText(ended(log, now) - began(log))}
      </span>
      <span role="cell" className={styles.number}>
        {bytesText(log.length)}
      </span>
      <span role="cell" className={styles.worker} title={`${log.start?.host ?? ""} ${log.start?.worker_id ?? ""}`}>
        {log.start?.host ?? "–"}
      </span>
    </>
  );
}

function Table({ logs, axis, now }: { logs: readonly Log[]; axis: Axis; now: number }): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: logs.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 44,
    overscan: 10,
  });
  return (
    <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Tasks">
      <div role="table" aria-label="Tasks" aria-rowcount={logs.length + 1}>
        <div role="row" className={`${styles.row} ${styles.header}`}>
          {columns.map((column) => (
            <span role="columnheader" key={column}>
              {column}
            </span>
          ))}
        </div>
        <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
          {rows.getVirtualItems().map((item) => {
            const log = logs[item.index];
            return log === undefined ? null : (
              <div
                key={logUrl(log)}
                ref={rows.measureElement}
                data-index={item.index}
                role="row"
                aria-rowindex={item.index + 2}
                className={`${styles.row} ${styles.placed}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <TaskRow log={log} axis={axis} now={now} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

export function Tasks({ logs, axis, now }: { logs: readonly Log[]; axis: Axis; now: number }): ReactNode {
  const [only, setOnly] = useState("all");
  const live = useMemo(() => logs.filter((log) => log.state === "live"), [logs]);
  const failed = useMemo(() => logs.filter((log) => log.state !== "live" && !succeeded(log)), [logs]);
  const shown = only === "failed" ? failed : only === "live" ? live : logs;
  return (
    <section className={styles.tasks} aria-label="Tasks">
      <Group px="md" py={6}>
        <SegmentedControl
          size="xs"
          aria-label="Which tasks"
          value={only}
          onChange={setOnly}
          data={[
            { value: "all", label: `All ${countText(logs.length)}` },
            { value: "failed", label: `Failed ${countText(failed.length)}` },
            { value: "live", label: `Live ${countText(live.length)}` },
          ]}
        />
      </Group>
      {shown.length > 0 ? (
        <Table logs={shown} axis={axis} now={now} />
      ) : (
        <Empty title={logs.length === 0 ? "No task has started yet" : `No task ${only === "live" ? "runs" : "failed"}`}>
          {logs.length === 0 ? "Each shows up here with its first line." : null}
        </Empty>
      )}
    </section>
  );
}
