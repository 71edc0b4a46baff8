import { Anchor, Button, Checkbox, Group, NumberInput, Select, Stack, Text, TextInput, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type FormEvent, type ReactNode, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { getJson, runPath, type Schemas } from "../api/client";
import { pathOf } from "../log/about";
import { FoundLines, MAX_CONTEXT_LINES } from "../log/found_text";
import { type Found, useSearch } from "../log/use_search";
import { bytesText, countText, momentText } from "../parts/format";
import { anyTime, type Period, PeriodSelect, rangeOf } from "../parts/period";
import { Empty, Failure } from "../parts/states";
import styles from "./search.module.css";

const streams = [
  { value: "", label: "Both streams" },
  { value: "stdout", label: "stdout" },
  { value: "stderr", label: "stderr" },
];

type Row = { kind: "log"; found: Found; hits: number } | { kind: "hit"; found: Found };

/** Hits under the log that they are in. */
function rowsOf(found: readonly Found[]): Row[] {
  const rows: Row[] = [];
  let head: { kind: "log"; found: Found; hits: number } | null = null;
  for (const one of found) {
    if (head === null || pathOf(head.found.id) !== pathOf(one.id)) {
      head = { kind: "log", found: one, hits: 0 };
      rows.push(head);
    }
    head.hits++;
    rows.push({ kind: "hit", found: one });
  }
  return rows;
}

function progressText(state: ReturnType<typeof useSearch>["state"]): string {
  const where = `${countText(state.runs)} runs, ${countText(state.logs)} logs, ${bytesText(state.bytes)} searched`;
  const found = `${countText(state.found.length)} ${state.found.length === 1 ? "line" : "lines"} found`;
  const end = state.stopped === "hits" ? "; there are more" : state.stopped === "time" ? "; the time was up" : "";
  return `${found}; ${where}${end}`;
}

export default function Search(): ReactNode {
  useDocumentTitle("Search · joblog");
  const [query] = useSearchParams();
  const run = query.get("run") ?? "";
  const namespaces = useQuery({
    queryKey: ["namespaces"],
    queryFn: ({ signal }) => getJson<Schemas["Namespaces"]>("/namespaces", { limit: 1000 }, signal),
  });
  const names = namespaces.data?.namespaces ?? [];
  const [chosen, setChosen] = useState<string | null>(query.get("namespace"));
  const namespace = chosen ?? (names.includes("default") ? "default" : (names[0] ?? "default"));
  const [text, setText] = useState("");
  const [regex, setRegex] = useState(false);
  const [matchCase, setMatchCase] = useState(false);
  const [period, setPeriod] = useState<Period>({ ...anyTime, name: "week" });
  const [stream, setStream] = useState("");
  const [around, setAround] = useState<number | string>(0);
  const [each, setEach] = useState<number | string>(5);
  const path = run ? `${runPath(namespace, run)}/search` : `/namespaces/${encodeURIComponent(namespace)}/search`;
  const { state, start, stop } = useSearch(path);
  const [asked, setAsked] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => rowsOf(state.found), [state.found]);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => (rows[index]?.kind === "log" ? 36 : 26),
    overscan: 20,
  });

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (text === "") return;
    setAsked(true);
    const range = rangeOf(run ? anyTime : period, Date.now());
    start({
      q: text,
      regex,
      ignore_case: !matchCase,
      stream,
      context_lines: Number(around) || 0,
      max_hits: 10_000,
      max_hits_per_log: Number(each) || 0,
      max_seconds: 600,
      created_from: range.createdFrom,
      created_before: range.createdBefore,
    });
  };

  return (
    <div className={styles.page}>
      <form className={styles.head} onSubmit={submit}>
        <Stack gap="xs">
          <Title order={1} size="h4">
            {run ? `Search in ${run}` : "Search"}
          </Title>
          <Group gap="sm" align="flex-end" wrap="wrap">
            <TextInput
              className={styles.text}
              autoFocus
              label="Which logs say"
              placeholder={regex ? "Regular expression (RE2)" : "Text"}
              maxLength={1000}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
            />
            {run ? null : (
              <>
                <Select
                  label="in namespace"
                  searchable
                  allowDeselect={false}
                  data={names.includes(namespace) ? names : [namespace, ...names]}
                  value={namespace}
                  onChange={setChosen}
                />
                <PeriodSelect label="in runs of" period={period} onChange={setPeriod} />
              </>
            )}
            <Select
              label="by"
              data={streams}
              value={stream}
              allowDeselect={false}
              onChange={(value) => setStream(value ?? "")}
              w={130}
            />
            <NumberInput label="Lines per log" min={1} max={10_000} value={each} onChange={setEach} w={110} />
            <NumberInput
              label="Lines around"
              min={0}
              max={MAX_CONTEXT_LINES}
              value={around}
              onChange={setAround}
              w={110}
            />
            {state.running ? (
              <Button variant="default" onClick={stop}>
                Stop
              </Button>
            ) : (
              <Button type="submit">Search</Button>
            )}
          </Group>
          <Group gap="md">
            <Checkbox
              size="xs"
              label="Regular expression"
              checked={regex}
              onChange={(event) => setRegex(event.currentTarget.checked)}
            />
            <Checkbox
              size="xs"
              label="Match case"
              checked={matchCase}
              onChange={(event) => setMatchCase(event.currentTarget.checked)}
            />
            <Text size="xs" c="dimmed" role="status" aria-live="polite">
              {asked
                ? `${state.running ? "Searching: " : ""}${progressText(state)}`
                : "The newest runs are searched first."}
            </Text>
          </Group>
        </Stack>
      </form>
      {state.error ? <Failure error={state.error} /> : null}
      {asked && !state.running && state.found.length === 0 && !state.error ? (
        <Empty title="No log says this">Try a longer time, or another text.</Empty>
      ) : null}
      <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Lines found">
        <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const { id, hit } = row.found;
            return (
              <div
                key={item.key}
                ref={virtual.measureElement}
                data-index={item.index}
                className={styles.row}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                {row.kind === "log" ? (
                  <div className={styles.log}>
                    <Anchor component={Link} to={`/logs/${pathOf(id)}`} size="sm" fw={600}>
                      {id.run} / {id.task} #{id.attempt}
                    </Anchor>
                    <Text size="xs" c="dimmed">
                      {countText(row.hits)} {row.hits === 1 ? "line" : "lines"} · {momentText(hit.at)}
                    </Text>
                  </div>
                ) : (
                  <Link className={styles.hit} to={`/logs/${pathOf(id)}#L${hit.line.line}`}>
                    <FoundLines hit={hit} />
                  </Link>
                )}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
