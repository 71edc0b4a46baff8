import { ActionIcon, Badge, Button, Group, Menu, Select, Switch, Text, Tooltip } from "@mantine/core";
import { useHotkeys, useLocalStorage } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import {
  IconAlertCircle,
  IconAlertTriangle,
  IconArrowBarToDown,
  IconChevronDown,
  IconChevronUp,
  IconCopy,
  IconDownload,
  IconInfoCircle,
  IconPlayerPause,
  IconPlayerPlay,
  IconSearch,
} from "@tabler/icons-react";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation, useNavigate, useParams } from "react-router";
import { ApiError, apiUrl, type FoundHit, type LogId, logPath } from "../api/client";
import { About } from "../log/about";
import { groupsOf, Rows } from "../log/groups";
import type { ScrollMark } from "../log/scrollbar";
import { SearchPanel } from "../log/search_panel";
import { hashOf, type Selection, selectionOf } from "../log/selection";
import { plain } from "../log/text";
import { type TimeStyle, timeStyles } from "../log/time";
import { useLog } from "../log/use_log";
import { Viewer, type ViewerHandle } from "../log/viewer";
import { LogState } from "../parts/badges";
import { Failure, Loading } from "../parts/states";
import styles from "./log.module.css";

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function useId(): LogId {
  const { namespace = "", run = "", task = "", attempt = "latest" } = useParams();
  return { namespace, run, task, attempt: attempt === "latest" ? "latest" : Number(attempt) };
}

export default function LogPage(): ReactNode {
  const id = useId();
  const key = logPath(id);
  return <OpenLogPage key={key} id={id} />;
}

function OpenLogPage({ id }: { id: LogId }): ReactNode {
  const { log, error, store, ready, offline, marks } = useLog(id);
  const location = useLocation();
  const navigate = useNavigate();
  const viewer = useRef<ViewerHandle>(null);
  const [times, setTimes] = useLocalStorage<TimeStyle>({ key: "joblog-times", defaultValue: "none" });
  const [wrap, setWrap] = useLocalStorage({ key: "joblog-wrap", defaultValue: false });
  const [live, setLive] = useState(false);
  const [seen, setSeen] = useState(0);
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [panel, setPanel] = useState<"search" | "about" | null>(null);
  const [hits, setHits] = useState<readonly FoundHit[]>([]);
  const [current, setCurrent] = useState<number | null>(null);
  const selection = useMemo(() => selectionOf(location.hash), [location.hash]);
  const begun = useRef(false);
  // The hash that was last acted upon: one that this page sets itself moves nothing.
  const chosen = useRef("");

  const lines = store.place.lines;
  const groups = useMemo(() => groupsOf(marks), [marks]);
  const rows = useMemo(() => new Rows(lines, groups, folded), [lines, groups, folded]);
  const groupsByLine = useMemo(() => new Map(groups.map((group) => [group.line, group])), [groups]);
  const problems = useMemo(() => marks.filter((mark) => mark.kind === "error" || mark.kind === "warning"), [marks]);
  const marksByLine = useMemo(
    () => new Map(problems.map((mark) => [mark.line, mark.kind as "error" | "warning"])),
    [problems],
  );
  const hitLines = useMemo(() => new Set(hits.map((hit) => hit.line.line)), [hits]);
  const ticks = useMemo<ScrollMark[]>(
    () => [
      ...problems.map((mark) => ({ row: rows.rowOf(mark.line), kind: mark.kind as "error" | "warning" })),
      ...hits.map((hit) => ({ row: rows.rowOf(hit.line.line), kind: "hit" as const })),
    ],
    [problems, hits, rows],
  );

  const show = useCallback(
    (line: number) => {
      setLive(false);
      const around = groups.filter((group) => folded.has(group.line) && group.line < line && line <= group.end);
      if (around.length > 0)
        setFolded(new Set([...folded].filter((one) => !around.some((group) => group.line === one))));
      setCurrent(line);
      // After the rows of an unfolded group are there.
      requestAnimationFrame(() => viewer.current?.show(line));
    },
    [groups, folded],
  );

  // Where to begin: at the line that the address names, at the end of what runs or has failed, else at the start.
  useEffect(() => {
    if (!ready || log === undefined || begun.current) return;
    begun.current = true;
    chosen.current = location.hash;
    const failed =
      log.state === "interrupted" ||
      (log.outcome !== null && log.outcome?.kind !== "exited") ||
      log.outcome?.exit_code !== 0;
    if (selection !== null) show(selection.first);
    else if (log.state === "live") setLive(true);
    else if (failed) requestAnimationFrame(() => viewer.current?.showEnd());
    viewer.current?.focus();
  }, [ready, log, selection, show, location.hash]);

  // A link to another line of the same log.
  useEffect(() => {
    if (!begun.current || selection === null || location.hash === chosen.current) return;
    chosen.current = location.hash;
    show(selection.first);
  }, [location.hash, selection, show]);

  useEffect(() => {
    if (live) setSeen(lines);
  }, [live, lines]);

  const running = !store.place.completed;
  const toLive = useCallback(() => {
    if (running) setLive(true);
    viewer.current?.showEnd();
  }, [running]);
  const onScrolled = useCallback(
    (atEnd: boolean) => {
      if (atEnd) setLive(running);
      else setLive(false);
    },
    [running],
  );

  const onSelect = useCallback(
    (number: number, extend: boolean) => {
      const next: Selection =
        extend && selection !== null
          ? { first: Math.min(selection.first, number), last: Math.max(selection.last, number) }
          : { first: number, last: number };
      chosen.current = hashOf(next);
      navigate({ hash: chosen.current }, { replace: true, preventScrollReset: true });
    },
    [navigate, selection],
  );
  const onFold = useCallback((line: number) => {
    setFolded((before) => {
      const next = new Set(before);
      if (!next.delete(line)) next.add(line);
      return next;
    });
  }, []);

  const jump = useCallback(
    (step: 1 | -1) => {
      if (problems.length === 0) return;
      const at = current ?? 0;
      const next =
        step > 0
          ? (problems.find((mark) => mark.line > at) ?? problems[0])
          : (problems.findLast((mark) => mark.line < at) ?? problems.at(-1));
      if (next !== undefined) show(next.line);
    },
    [problems, current, show],
  );

  const copy = useCallback(
    async (numbers: boolean) => {
      if (selection === null) return;
      const texts: string[] = [];
      for (let number = selection.first; number <= selection.last; number++) {
        const line = store.get(number);
        if (line === undefined) break;
        texts.push(numbers ? `${number}\t${plain(line.bytes)}` : plain(line.bytes));
      }
      await navigator.clipboard.writeText(texts.join("\n"));
      notifications.show({ message: `${texts.length} ${texts.length === 1 ? "line" : "lines"} copied` });
    },
    [selection, store],
  );

  useHotkeys([
    ["End", toLive],
    ["shift+G", toLive],
    ["g", () => show(1)],
    ["Space", () => (live ? setLive(false) : toLive())],
    ["n", () => jump(1)],
    ["p", () => jump(-1)],
    ["w", () => setWrap(!wrap)],
    ["mod+F", () => setPanel("search")],
    ["/", () => setPanel("search")],
    ["i", () => setPanel(panel === "about" ? null : "about")],
  ]);

  useEffect(() => {
    document.title = `${id.task} · ${id.run} · joblog`;
  }, [id.task, id.run]);

  if (error !== null && error !== undefined && !ready) {
    const gone = error instanceof ApiError && error.status === 404;
    return <Failure error={gone ? new Error("There is no such log. It may have been deleted.") : error} />;
  }
  if (!ready || log === undefined) return <Loading label="Opening the log" />;
  const unseen = Math.max(0, lines - seen);
  const errors = problems.filter((mark) => mark.kind === "error").length;

  return (
    <div className={styles.page}>
      <Group className={styles.head} gap="xs" wrap="wrap">
        <Text fw={600} truncate className={styles.name}>
          {id.task}{" "}
          <Text span c="dimmed">
            #{log.attempt}
          </Text>
        </Text>
        <LogState log={log} />
        {offline ? (
          <Badge color="red" variant="light" role="status">
            Leader not reached, trying again
          </Badge>
        ) : null}
        {running ? (
          <Button
            size="compact-sm"
            variant={live ? "light" : "filled"}
            onClick={() => (live ? setLive(false) : toLive())}
            leftSection={live ? <IconPlayerPause size={14} aria-hidden /> : <IconPlayerPlay size={14} aria-hidden />}
          >
            {live ? "Live" : unseen > 0 ? `Paused · ${unseen} new` : "Paused"}
          </Button>
        ) : null}
        <span className={styles.space} />
        {problems.length > 0 ? (
          <Group gap={2} wrap="nowrap">
            <Badge
              variant="light"
              color={errors > 0 ? "red" : "yellow"}
              leftSection={
                errors > 0 ? <IconAlertCircle size={12} aria-hidden /> : <IconAlertTriangle size={12} aria-hidden />
              }
            >
              {errors > 0 ? counted(errors, "error") : counted(problems.length, "warning")}
            </Badge>
            <Tooltip label="Previous (p)">
              <ActionIcon variant="subtle" color="gray" aria-label="Previous error or warning" onClick={() => jump(-1)}>
                <IconChevronUp size={16} />
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Next (n)">
              <ActionIcon variant="subtle" color="gray" aria-label="Next error or warning" onClick={() => jump(1)}>
                <IconChevronDown size={16} />
              </ActionIcon>
            </Tooltip>
          </Group>
        ) : null}
        <Select
          size="xs"
          w={140}
          aria-label="Times"
          data={[...timeStyles]}
          value={times}
          allowDeselect={false}
          onChange={(value) => setTimes((value ?? "none") as TimeStyle)}
        />
        <Switch size="xs" label="Wrap" checked={wrap} onChange={(event) => setWrap(event.currentTarget.checked)} />
        <Tooltip label="Search (/)">
          <ActionIcon
            variant={panel === "search" ? "light" : "subtle"}
            color="gray"
            aria-label="Search in this log"
            onClick={() => setPanel(panel === "search" ? null : "search")}
          >
            <IconSearch size={18} />
          </ActionIcon>
        </Tooltip>
        {selection !== null ? (
          <Menu>
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label="Copy the selected lines">
                <IconCopy size={18} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item onClick={() => void copy(false)}>Copy lines</Menu.Item>
              <Menu.Item onClick={() => void copy(true)}>Copy lines with numbers</Menu.Item>
              <Menu.Item onClick={() => void navigator.clipboard.writeText(window.location.href)}>Copy link</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        ) : null}
        <Menu>
          <Menu.Target>
            <ActionIcon variant="subtle" color="gray" aria-label="Download">
              <IconDownload size={18} />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item component="a" href={apiUrl(`${logPath(id)}/raw`, { download: true })}>
              Download
            </Menu.Item>
            <Menu.Item component="a" href={apiUrl(`${logPath(id)}/raw`)} target="_blank" rel="noopener">
              Open as text
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <Tooltip label="To the end (G)">
          <ActionIcon variant="subtle" color="gray" aria-label="To the end" onClick={toLive}>
            <IconArrowBarToDown size={18} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label="About this log (i)">
          <ActionIcon
            variant={panel === "about" ? "light" : "subtle"}
            color="gray"
            aria-label="About this log"
            onClick={() => setPanel(panel === "about" ? null : "about")}
          >
            <IconInfoCircle size={18} />
          </ActionIcon>
        </Tooltip>
      </Group>
      <div className={styles.body}>
        {lines === 0 ? (
          <Text c="dimmed" p="lg" className={styles.empty}>
            {running ? "Nothing was written yet." : "This log is empty: the task wrote nothing."}
          </Text>
        ) : (
          <Viewer
            store={store}
            rows={rows}
            groups={groupsByLine}
            folded={folded}
            marks={marksByLine}
            hits={hitLines}
            ticks={ticks}
            current={current}
            selection={selection}
            times={times}
            startUs={log.created_at ? Date.parse(log.created_at) * 1000 : 0}
            wrap={wrap}
            live={live}
            onSelect={onSelect}
            onFold={onFold}
            onScrolled={onScrolled}
            handle={viewer}
          />
        )}
        {panel === "search" ? (
          <SearchPanel id={id} onHits={setHits} onShow={show} current={current} onClose={() => setPanel(null)} />
        ) : null}
        {panel === "about" ? <About log={log} events={store.events} onClose={() => setPanel(null)} /> : null}
      </div>
    </div>
  );
}
