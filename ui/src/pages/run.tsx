import { Anchor, Badge, Breadcrumbs, Button, Group, SegmentedControl, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { getJson, type Log, type Logs, type Run, runPath, type Schemas, sendJson } from "../api/client";
import { pathOf } from "../log/about";
import { LogState, State, succeeded } from "../parts/badges";
import { bytesText, countText, keptText, momentText, spanText } from "../parts/format";
import { RunLog } from "../parts/run_log";
import { Empty, Failure, Loading } from "../parts/states";
import { useSession } from "../session";
import styles from "./run.module.css";

const REFRESH_MS = 3_000;
const PAGE = 200;

interface Axis {
  from: number;
  to: number;
}

function began(log: Log): number {
  return Date.parse(log.start?.started_at ?? log.created_at ?? "") || 0;
}

function ended(log: Log, now: number): number {
  if (log.state === "live") return now;
  return Date.parse(log.outcome?.ended_at ?? log.completed_at ?? log.last_append_at ?? "") || began(log);
}

function axisOf(logs: readonly Log[], now: number): Axis {
  const from = Math.min(...logs.map(began).filter((time) => time > 0), now);
  const to = Math.max(...logs.map((log) => ended(log, now)), from + 1);
  return { from, to };
}

function Bar({ log, axis, now }: { log: Log; axis: Axis; now: number }): ReactNode {
  const span = axis.to - axis.from;
  const left = ((began(log) - axis.from) / span) * 100;
  const width = Math.max(0.5, ((ended(log, now) - began(log)) / span) * 100);
  const kind =
    log.state === "live"
      ? styles.live
      : log.state === "interrupted"
        ? styles.interrupted
        : succeeded(log)
          ? styles.good
          : styles.bad;
  return (
    <span
      className={styles.bar}
      title={`${momentText(log.start?.started_at ?? log.created_at)}, ${spanText(ended(log, now) - began(log))}`}
    >
      <span className={kind} style={{ left: `${left}%`, width: `${Math.min(width, 100 - left)}%` }} />
    </span>
  );
}

function TaskRow({ log, axis, now }: { log: Log; axis: Axis; now: number }): ReactNode {
  return (
    <>
      <span role="cell" className={styles.name}>
        <Anchor component={Link} to={`/logs/${pathOf(log)}`} size="sm" fw={500}>
          {log.task}
        </Anchor>
        <Text span c="dimmed" size="sm">
          {" "}
          #{log.attempt}
        </Text>
      </span>
      <span role="cell" className={styles.state}>
        <LogState log={log} />
      </span>
      <span role="cell" className={styles.when}>
        <Bar log={log} axis={axis} now={now} />
      </span>
      <span role="cell">{spanText(ended(log, now) - began(log))}</span>
      <span role="cell">{bytesText(log.length)}</span>
      <span role="cell" className={styles.worker} title={log.start?.worker_id ?? ""}>
        {log.start?.host ?? "–"}
      </span>
    </>
  );
}

/** All logs of the run, by task and attempt; what has ended is not asked for again and again. */
function useLogs(path: string, live: boolean): { logs: readonly Log[]; error: unknown; loading: boolean } {
  const pages = useInfiniteQuery({
    queryKey: ["logs", path],
    queryFn: ({ pageParam, signal }) => getJson<Logs>(`${path}/logs`, { limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    refetchInterval: live ? REFRESH_MS : false,
  });
  const { hasNextPage, isFetching, fetchNextPage } = pages;
  useEffect(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  const logs = useMemo(() => (pages.data?.pages ?? []).flatMap((page) => page.logs), [pages.data]);
  return { logs, error: pages.error, loading: pages.isPending };
}

function DeleteRun({ run }: { run: Run }): ReactNode {
  const navigate = useNavigate();
  const ask = (): void => {
    modals.openConfirmModal({
      title: `Delete the run ${run.run}?`,
      children: (
        <Text size="sm">
          All its logs go, with their keys: nothing of them can be read again, in the archive neither. Tasks that still
          run are refused from now on.
        </Text>
      ),
      labels: { confirm: "Delete", cancel: "Keep it" },
      confirmProps: { color: "red" },
      onConfirm: () => {
        sendJson<Schemas["Deleted"]>("DELETE", runPath(run.namespace, run.run))
          .then((done) => {
            notifications.show({ message: `${done.logs_deleted} logs deleted, ${bytesText(done.bytes_deleted)}` });
            navigate("/runs");
          })
          .catch((error: unknown) =>
            notifications.show({ color: "red", message: error instanceof Error ? error.message : String(error) }),
          );
      },
    });
  };
  return (
    <Button size="compact-sm" variant="subtle" color="red" onClick={ask}>
      Delete
    </Button>
  );
}

export default function RunPage(): ReactNode {
  const { namespace = "", run: name = "" } = useParams();
  const path = runPath(namespace, name);
  const session = useSession();
  const [only, setOnly] = useState("all");
  const scroller = useRef<HTMLDivElement>(null);
  useDocumentTitle(`${name} · joblog`);
  const run = useQuery({
    queryKey: ["run", path],
    queryFn: ({ signal }) => getJson<Run>(path, {}, signal),
    refetchInterval: (query) =>
      query.state.data === undefined || query.state.data.state === "live" ? REFRESH_MS : 15_000,
  });
  const live = run.data?.state === "live";
  const { logs, error, loading } = useLogs(path, live);
  const now = Date.now();
  const tasks = useMemo(() => logs.filter((log) => log.task !== "@run"), [logs]);
  const axis = axisOf(tasks, now);
  const shown = useMemo(() => {
    if (only === "failed") return tasks.filter((log) => log.state !== "live" && !succeeded(log));
    return only === "live" ? tasks.filter((log) => log.state === "live") : tasks;
  }, [tasks, only]);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 44,
    overscan: 10,
  });

  if (run.error && run.data === undefined) return <Failure error={run.error} retry={() => void run.refetch()} />;
  if (run.data === undefined || loading) return <Loading label="Loading the run" />;
  const bytes = tasks.reduce((sum, log) => sum + log.length, 0);
  const failed = tasks.filter((log) => log.state !== "live" && !succeeded(log)).length;
  return (
    <div className={styles.page}>
      <div className={styles.head}>
        <Breadcrumbs separator="/" mb={4}>
          <Anchor component={Link} to={`/runs?namespace=${encodeURIComponent(namespace)}`} size="sm">
            {namespace}
          </Anchor>
          <Text size="sm">{name}</Text>
        </Breadcrumbs>
        <Group gap="sm" wrap="wrap">
          <Title order={1} size="h4">
            {name}
          </Title>
          <State state={run.data.state} />
          <Text size="sm" c="dimmed">
            {momentText(run.data.created_at)} · {spanText(axis.to - axis.from)} · {bytesText(bytes)} ·{" "}
            {countText(tasks.length)} {tasks.length === 1 ? "log" : "logs"}
            {run.data.kept ? ` · kept: ${keptText(run.data.kept)}` : ""}
          </Text>
          {Object.entries(run.data.labels).map(([label, value]) => (
            <Badge key={label} variant="default" tt="none" fw={400}>
              {label}={value}
            </Badge>
          ))}
          <span className={styles.space} />
          {session.may("log.read") ? (
            <Button
              size="compact-sm"
              variant="default"
              component={Link}
              to={`/search?namespace=${encodeURIComponent(namespace)}&run=${encodeURIComponent(name)}`}
            >
              Search in it
            </Button>
          ) : null}
          {session.may("log.delete") ? <DeleteRun run={run.data} /> : null}
        </Group>
      </div>
      {error ? <Failure error={error} /> : null}
      <div className={styles.body}>
        <section className={styles.tasks} aria-label="Tasks">
          <Group px="md" py={6}>
            <SegmentedControl
              size="xs"
              aria-label="Which tasks"
              value={only}
              onChange={setOnly}
              data={[
                { value: "all", label: `All ${tasks.length}` },
                { value: "failed", label: `Failed ${failed}` },
                { value: "live", label: `Live ${tasks.filter((log) => log.state === "live").length}` },
              ]}
            />
          </Group>
          {shown.length === 0 ? (
            <Empty title={tasks.length === 0 ? "No task has started yet" : "No task is like this"} />
          ) : (
            <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Tasks">
              <div role="table" aria-label="Tasks">
                <div role="row" className={`${styles.row} ${styles.header}`}>
                  {["Task", "State", "When", "Took", "Size", "Host"].map((column) => (
                    <span role="columnheader" key={column}>
                      {column}
                    </span>
                  ))}
                </div>
                <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
                  {rows.getVirtualItems().map((item) => {
                    const log = shown[item.index];
                    return log === undefined ? null : (
                      <div
                        key={pathOf(log)}
                        ref={rows.measureElement}
                        data-index={item.index}
                        role="row"
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
          )}
        </section>
        {session.may("log.read") ? <RunLog logs={logs.filter((log) => log.task === "@run")} /> : null}
      </div>
    </div>
  );
}
