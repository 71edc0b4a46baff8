// Lines that a search over runs has found, under the logs that they are in.

import { Anchor, Text } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef } from "react";
import { Link } from "react-router";
import { FoundLines } from "../log/found_text";
import type { Found } from "../log/use_search";
import { countText, momentText } from "../parts/format";
import { logUrl } from "../parts/links";
import styles from "./search.module.css";

type Row = { kind: "log"; found: Found; hits: number } | { kind: "hit"; found: Found };

/** Hits under the log that they are in. */
function rowsOf(found: readonly Found[]): Row[] {
  const rows: Row[] = [];
  let head: { kind: "log"; found: Found; hits: number } | null = null;
  for (const one of found) {
    if (head === null || logUrl(head.found.id) !== logUrl(one.id)) {
      head = { kind: "log", found: one, hits: 0 };
      rows.push(head);
    }
    head.hits++;
    rows.push({ kind: "hit", found: one });
  }
  return rows;
}

function FoundRow({ row }: { row: Row }): ReactNode {
  const { id, hit } = row.found;
  if (row.kind === "hit") {
    return (
      <Link className={styles.hit} to={`${logUrl(id)}#L${hit.line.line}`}>
        <FoundLines hit={hit} />
      </Link>
    );
  }
  return (
    <div className={styles.log}>
      <Anchor
        component={Link}
        to={logUrl(id)}
        size="sm"
        fw={600}
        className={styles.name}
        title={`${id.run}/${id.task}`}
      >
        <span>{id.run}</span> / <span>{id.task}</span> #{id.attempt}
      </Anchor>
      <Text size="xs" c="dimmed">
        {countText(row.hits)} {row.hits === 1 ? "line" : "lines"} · {momentText(hit.at)}
      </Text>
    </div>
  );
}

export function FoundList({ found }: { found: readonly Found[] }): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => rowsOf(found), [found]);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => (rows[index]?.kind === "log" ? 36 : 26),
    overscan: 20,
  });
  return (
    <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Lines found">
      <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
        {virtual.getVirtualItems().map((item) => {
          const row = rows[item.index];
          return row === undefined ? null : (
            <div
              key={item.key}
              ref={virtual.measureElement}
              data-index={item.index}
              className={styles.row}
              style={{ transform: `translateY(${item.start}px)` }}
            >
              <FoundRow row={row} />
            </div>
          );
        })}
      </div>
    </div>
  );
}
