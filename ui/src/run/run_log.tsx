// The driver's own log of a run, beside its tasks: its last lines.

import { Anchor, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { type Chunk, getJson, type Log, logPath } from "../api/client";
import { every, isPassing, useFailure } from "../api/queries";
import { cutLines } from "../log/lines";
import { plain } from "../log/text";
import { timeText } from "../log/time";
import { logUrl } from "../parts/links";
import { Failure, Loading } from "../parts/states";
import styles from "./run_log.module.css";

const LINES = 300;
const REFRESH_MS = 3_000;

interface Said {
  key: string;
  timeUs: number;
  text: string;
}

async function lastLines(logs: readonly Log[], signal: AbortSignal): Promise<Said[]> {
  const all = await Promise.all(
    logs.map(async (log) => {
      const parameters = { format: "json", frames: true, tail: LINES, limit: 65_536 };
      const chunk = await getJson<Chunk>(`${logPath(log)}/bytes`, parameters, signal);
      return cutLines(chunk).map((line) => ({
        key: `${log.attempt}:${line.offset}`,
        timeUs: line.timeUs,
        // joblog's own lines begin with the time, which stands before them here.
        text: plain(line.bytes).replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /, ""),
      }));
    }),
  );
  // Several programs may have written to it, each in an attempt of its own.
  return all
    .flat()
    .sort((one, other) => one.timeUs - other.timeUs)
    .slice(-LINES);
}

function Lines({ lines }: { lines: readonly Said[] }): ReactNode {
  return lines.map((line) => (
    <div key={line.key} className={styles.line} title={line.text}>
      <time>{timeText(line.timeUs, "clock", 0).slice(11, 19)}</time> <span dir="ltr">{line.text}</span>
    </div>
  ));
}

export function RunLog({ logs }: { logs: readonly Log[] }): ReactNode {
  const newest = logs.slice(-20);
  const live = newest.some((log) => log.state === "live");
  const asked = useQuery({
    queryKey: ["run log", newest.map(logUrl), newest.map((log) => log.length)],
    queryFn: ({ signal }) => lastLines(newest, signal),
    enabled: newest.length > 0,
    refetchInterval: every(live ? REFRESH_MS : false),
    placeholderData: (before) => before,
  });
  const failure = useFailure(asked);
  const { data } = asked;
  const last = newest.at(-1);
  if (last === undefined) return null;
  return (
    <section className={styles.frame} aria-label="Run log">
      <div className={styles.head}>
        <Title order={2} size="h6">
          Run log
        </Title>
        <Anchor component={Link} to={logUrl(last)} size="xs">
          Open it
        </Anchor>
      </div>
      {/* What the page says of a leader that is gone is enough. */}
      {failure && (data === undefined || !isPassing(failure)) ? <Failure error={failure} /> : null}
      {data === undefined && !failure ? <Loading label="Loading the run log" /> : null}
      <div className={styles.lines} tabIndex={0} role="region" aria-label="Lines of the run log">
        <Lines lines={data ?? []} />
        {data?.length === 0 ? (
          <Text size="sm" c="dimmed">
            Nothing yet
          </Text>
        ) : null}
      </div>
    </section>
  );
}
