// A run in the list.

import { Anchor, Text } from "@mantine/core";
import { memo, type ReactNode } from "react";
import { Link } from "react-router";
import type { Run } from "../api/client";
import { State } from "../parts/badges";
import { bytesText, countText, momentText, spanText } from "../parts/format";
import { Labels } from "../parts/labels";
import { runUrl } from "../parts/links";
import { useZone } from "../parts/zone";
import styles from "./runs.module.css";

/** In a row; the others are shown on demand. */
const MOST_LABELS = 3;

const taskStates = [
  ["live", "blue"],
  ["failed", "red"],
  ["interrupted", "orange"],
  ["succeeded", "green"],
] as const;

function Tasks({ run }: { run: Run }): ReactNode {
  const counts = taskStates
    .map(([state, color]) => ({ state, color, count: run[`tasks_${state}`] }))
    .filter(({ count }) => count > 0);
  if (counts.length === 0) return "–";
  return counts.map(({ state, color, count }, index) => (
    <span key={state}>
      {index > 0 ? ", " : ""}
      <Text
        span
        inherit
        className={styles.count}
        c={color === "green" ? "inherit" : `var(--mantine-color-${color}-light-color)`}
      >
        {countText(count)} {state}
      </Text>
    </span>
  ));
}

interface RowProps {
  run: Run;
  /** 0: the run is not live. */
  now: number;
  onLabel: (label: string) => void;
}

/** Most rows stay as they are whenever the list is brought up to date. */
export const RunRow = memo(function RunRow({ run, now, onLabel }: RowProps): ReactNode {
  // Else a row that stays as it is would show the time of the zone before.
  useZone();
  const began = run.created_at ? Date.parse(run.created_at) : 0;
  const ended = run.completed_at ? Date.parse(run.completed_at) : now;
  return (
    <>
      <span role="cell" className={styles.state}>
        <State state={run.state} />
      </span>
      <span role="cell" className={styles.name}>
        <Anchor component={Link} to={runUrl(run)} fw={500} size="sm" truncate display="block" title={run.run}>
          {run.run}
        </Anchor>
      </span>
      <span role="cell" className={styles.tasks}>
        <Tasks run={run} />
      </span>
      <span role="cell" title={run.created_at ?? ""}>
        {momentText(run.created_at)}
      </span>
      <span role="cell">{began > 0 && ended > 0 ? spanText(ended - began) : "–"}</span>
      <span role="cell">{bytesText(run.length)}</span>
      <span role="cell" className={styles.labels}>
        <Labels labels={run.labels} most={MOST_LABELS} onLabel={onLabel} />
      </span>
    </>
  );
});
