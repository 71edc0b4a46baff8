import { Anchor, Button, Group, MultiSelect, Select, Text, TextInput, Title } from "@mantine/core";
import { useDebouncedValue, useDocumentTitle, useInterval } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { getJson, type Run, type Schemas } from "../api/client";
import { every } from "../api/queries";
import { State } from "../parts/badges";
import { bytesText, countText, momentText, spanText } from "../parts/format";
import { Labels } from "../parts/labels";
import { runUrl } from "../parts/links";
import { type Period, PeriodSelect, rangeOf } from "../parts/period";
import { useRuns } from "../parts/runs";
import { Empty, Failure, Loading } from "../parts/states";
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
const RunRow = memo(function RunRow({ run, now, onLabel }: RowProps): ReactNode {
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

export default function Runs(): ReactNode {
  useDocumentTitle("Runs · joblog");
  const [query, setQuery] = useSearchParams();
  const namespaces = useQuery({
    queryKey: ["namespaces"],
    queryFn: ({ signal }) => getJson<Schemas["Namespaces"]>("/namespaces", { limit: 1000 }, signal),
    refetchInterval: every(30_000),
  });
  const names = namespaces.data?.namespaces ?? [];
  // Before the first run of all there may be the leader's own logs alone, which nobody came for.
  const tasks = names.filter((name) => !name.startsWith("@"));
  const namespace = query.get("namespace") ?? (tasks.includes("default") ? "default" : (tasks[0] ?? "default"));
  const [text, setText] = useState(query.get("text") ?? "");
  const [settled] = useDebouncedValue(text, 250);
  const period = useMemo<Period>(
    () => ({ name: query.get("period") ?? "", from: query.get("from") ?? "", until: query.get("until") ?? "" }),
    [query],
  );
  const states = useMemo(() => query.getAll("state"), [query]);
  const label = query.get("label") ?? "";
  const [top, setTop] = useState(true);
  const scroller = useRef<HTMLDivElement>(null);

  const zone = useZone();
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is of the zone
  const range = useMemo(() => rangeOf(period, Date.now()), [period, zone]);

  const change = useCallback(
    (changes: Record<string, string | readonly string[]>): void => {
      setQuery(
        (before) => {
          const next = new URLSearchParams(before);
          for (const [name, value] of Object.entries(changes)) {
            next.delete(name);
            for (const one of [value].flat()) if (one !== "") next.append(name, one);
          }
          return next;
        },
        { replace: true },
      );
    },
    [setQuery],
  );
  const onlyLabel = useCallback((chosen: string) => change({ label: chosen }), [change]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed goes into the address once it has settled
  useEffect(() => {
    if ((query.get("text") ?? "") !== settled) change({ text: settled });
  }, [settled]);

  const inSight = useRef<readonly Run[]>([]);
  const wanted = { namespace, text: settled, states, label, ...range };
  const list = useRuns(wanted, top, () => inSight.current);
  const [now, setNow] = useState(Date.now);
  useInterval(() => setNow(Date.now()), 1_000, { autoInvoke: true });
  const { runs } = list;
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
  inSight.current = items.map((item) => list.runs[item.index]).filter((run) => run !== undefined);
  const last = items.at(-1)?.index ?? 0;
  const { loadMore } = list;
  useEffect(() => {
    if (last >= list.runs.length - 20) loadMore();
  }, [last, list.runs.length, loadMore]);

  const filtered = settled !== "" || states.length > 0 || label !== "" || period.name !== "";
  return (
    <div className={styles.page}>
      <Group className={styles.head} gap="sm" wrap="wrap">
        <Title order={1} size="h4">
          Runs
        </Title>
        {names.length > 0 ? (
          <Select
            size="xs"
            aria-label="Namespace"
            searchable
            allowDeselect={false}
            data={names}
            value={namespace}
            onChange={(value) => change({ namespace: value ?? "" })}
          />
        ) : null}
        <TextInput
          size="xs"
          type="search"
          aria-label="Filter by name or label"
          placeholder="Name or label"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <MultiSelect
          size="xs"
          aria-label="Filter by state"
          placeholder={states.length === 0 ? "Any state" : ""}
          data={["live", "succeeded", "failed", "interrupted"]}
          value={states}
          onChange={(value) => change({ state: value })}
          w={190}
        />
        <PeriodSelect period={period} onChange={({ name, from, until }) => change({ period: name, from, until })} />
        {label !== "" ? (
          <Button
            size="compact-xs"
            variant="light"
            onClick={() => change({ label: "" })}
            aria-label={`Remove the filter ${label}`}
          >
            {label} ×
          </Button>
        ) : null}
        {list.fresh > 0 ? (
          <Button size="compact-sm" onClick={() => scroller.current?.scrollTo({ top: 0 })}>
            {list.fresh} new {list.fresh === 1 ? "run" : "runs"}
          </Button>
        ) : null}
      </Group>
      {list.error ? <Failure error={list.error} retry={list.retry} since={list.toldAt} /> : null}
      {list.loading ? (
        <Loading label="Loading the runs" />
      ) : list.runs.length === 0 && list.more && !list.error ? (
        <Loading label="Looking through older runs" />
      ) : list.runs.length === 0 && list.error ? null : list.runs.length === 0 ? (
        <Empty title={filtered ? "No run is like this" : "No runs yet"}>
          {filtered ? (
            "Take a filter away to see more."
          ) : (
            <>
              Run a command with joblog, and it appears here: <br />
              <code>joblog run --run demo --task hello -- echo hello</code>
            </>
          )}
        </Empty>
      ) : (
        <div
          ref={scroller}
          className={styles.scroller}
          tabIndex={0}
          role="region"
          aria-label="Runs"
          onScroll={(event) => setTop(event.currentTarget.scrollTop < 10)}
        >
          <div role="table" aria-label="Runs" aria-rowcount={list.more ? -1 : list.runs.length + 1}>
            <div role="row" className={`${styles.row} ${styles.header}`}>
              {["State", "Run", "Tasks", "Started", "Took", "Size", "Labels"].map((name) => (
                <span role="columnheader" key={name}>
                  {name}
                </span>
              ))}
            </div>
            <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
              {items.map((item) => {
                const run = list.runs[item.index];
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
                    <RunRow run={run} now={run.state === "live" ? now : 0} onLabel={onlyLabel} />
                  </div>
                );
              })}
            </div>
          </div>
          <Text size="xs" c="dimmed" px="md" py="sm" role="status">
            {list.more ? "Loading more" : `${countText(list.runs.length)} ${list.runs.length === 1 ? "run" : "runs"}`}
          </Text>
        </div>
      )}
    </div>
  );
}
