import { Anchor, Text } from "@mantine/core";
import { useDisclosure, useHotkeys, useLocalStorage } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link, useLocation, useNavigate, useParams } from "react-router";
import { ApiError, apiUrl, bytesOf, type FoundHit, type LogId, logPath } from "../api/client";
import { About } from "../log/about";
import { linesBetween, placeOf } from "../log/copy";
import { type Filter, groupsOf, Rows } from "../log/groups";
import { Help } from "../log/help";
import type { StreamName } from "../log/lines";
import type { ScrollMark } from "../log/scrollbar";
import { SearchPanel } from "../log/search_panel";
import { hashOf, type Selection, selectionOf } from "../log/selection";
import { plain } from "../log/text";
import type { TimeStyle } from "../log/time";
import { type Panel, Toolbar } from "../log/toolbar";
import { useLog } from "../log/use_log";
import { type StreamLines, useStream } from "../log/use_stream";
import { Viewer, type ViewerHandle } from "../log/viewer";
import { countText } from "../parts/format";
import { runUrl } from "../parts/links";
import { Empty, Failure, Loading } from "../parts/states";
import styles from "./log.module.css";

function streamText(stream: StreamName, found: StreamLines): string {
  if (found.error instanceof Error) return found.error.message;
  if (!found.upToDate) return `Looking for ${stream}: ${countText(found.lines.length)} lines of stderr so far`;
  if (found.cut) return `Only the first ${countText(found.lines.length)} lines of stderr are told apart`;
  return `Only ${stream}: the task wrote ${countText(found.lines.length)} lines to stderr`;
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
  const key = logPath(id);
  const location = useLocation();
  const selection = useMemo(() => selectionOf(location.hash), [location.hash]);
  const { log, error, store, fetch, events, ready, goneAt, marks } = useLog(
    id,
    Math.max(1, (selection?.first ?? 1) - 50),
  );
  const navigate = useNavigate();
  const viewer = useRef<ViewerHandle>(null);
  const [times, setTimes] = useLocalStorage<TimeStyle>({ key: "joblog-times", defaultValue: "none" });
  const [wrap, setWrap] = useLocalStorage({ key: "joblog-wrap", defaultValue: false });
  const [live, setLive] = useState(false);
  const [seen, setSeen] = useState(0);
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [panel, setPanel] = useState<Panel>(null);
  const [help, { open: openHelp, close: closeHelp }] = useDisclosure(false);
  const [stream, setStream] = useState<StreamName | null>(null);
  const [hits, setHits] = useState<readonly FoundHit[]>([]);
  const [current, setCurrent] = useState<number | null>(null);
  const begun = useRef(false);
  // The hash that was last acted upon: one that this page sets itself moves nothing.
  const chosen = useRef("");

  const lines = store.place.lines;
  const groups = useMemo(() => groupsOf(marks), [marks]);
  // What is not stderr is stdout: of most logs it is by far the longer list.
  const streamed = useStream(id, stream === null ? null : "stderr", store, ready);
  const filter = useMemo<Filter | null>(
    () => (stream === null ? null : { kind: stream === "stderr" ? "only" : "without", lines: streamed.lines }),
    [stream, streamed.lines],
  );
  const rows = useMemo(() => new Rows(lines, groups, folded, filter), [lines, groups, folded, filter]);
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
    // Only what comes from now on is new.
    setSeen(lines);
    viewer.current?.focus();
  }, [ready, log, selection, show, location.hash, lines]);

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
      // The address may not be there yet when the next line is chosen.
      const before = extend ? selectionOf(chosen.current) : null;
      const next: Selection =
        before !== null
          ? { first: Math.min(before.first, number), last: Math.max(before.last, number) }
          : { first: number, last: number };
      chosen.current = hashOf(next);
      navigate({ hash: chosen.current }, { replace: true, preventScrollReset: true });
    },
    [navigate],
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
      try {
        const found = await linesBetween(fetch, selection.first, selection.last, new AbortController().signal);
        const texts = found.lines.map((line) => `${numbers ? `${line.number}\t` : ""}${plain(line.bytes)}`);
        await navigator.clipboard.writeText(texts.join("\n"));
        const count = `${countText(texts.length)} ${texts.length === 1 ? "line" : "lines"} copied`;
        notifications.show({ message: found.cut ? `${count}: the rest is too much to copy; download it` : count });
      } catch (problem) {
        notifications.show({ color: "red", message: `Not copied: ${problem instanceof Error ? problem.message : ""}` });
      }
    },
    [selection, fetch],
  );
  const save = useCallback(async () => {
    if (selection === null) return;
    const place = await placeOf(fetch, selection.first, selection.last, new AbortController().signal);
    const link = document.createElement("a");
    link.href = apiUrl(`${key}/raw`, { from_offset: place.from, until_offset: place.until || store.place.nextOffset });
    link.download = "";
    link.click();
  }, [selection, fetch, key, store]);
  const foldAll = useCallback(
    (fold: boolean) => setFolded(new Set(fold ? groups.map((group) => group.line) : [])),
    [groups],
  );
  const readOn = useCallback(
    async (offset: number, limit: number) => bytesOf(await fetch({ offset, limit }, new AbortController().signal)),
    [fetch],
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
    ["f", () => foldAll(true)],
    ["u", () => foldAll(false)],
    ["c", () => void copy(false)],
    ["shift+?", openHelp],
    ["i", () => setPanel(panel === "about" ? null : "about")],
  ]);

  useEffect(() => {
    document.title = `${id.task} · ${id.run} · joblog`;
  }, [id.task, id.run]);

  if (error !== null && error !== undefined && !ready) {
    if (!(error instanceof ApiError && error.status === 404)) return <Failure error={error} />;
    return (
      <Empty title="There is no such log">
        It may have been deleted, or its task has not begun. <br />
        <Anchor component={Link} to={runUrl(id)}>
          See its run
        </Anchor>
      </Empty>
    );
  }
  if (!ready || log === undefined) return <Loading label="Opening the log" />;
  return (
    <div className={styles.page}>
      <Toolbar
        id={id}
        log={log}
        goneAt={goneAt}
        running={running}
        live={live}
        unseen={Math.max(0, lines - seen)}
        problems={problems}
        groups={groups.length}
        folded={folded.size}
        stream={stream}
        times={times}
        wrap={wrap}
        panel={panel}
        selection={selection}
        onLive={(wanted) => (wanted ? toLive() : setLive(false))}
        onJump={jump}
        onShow={show}
        onFoldAll={foldAll}
        onStream={setStream}
        onTimes={setTimes}
        onWrap={setWrap}
        onPanel={setPanel}
        onCopy={(numbers) => void copy(numbers)}
        onSave={() => void save()}
        onEnd={toLive}
        onHelp={openHelp}
      />
      <Help opened={help} onClose={closeHelp} />
      {error ? <Failure error={error} /> : null}
      {stream !== null ? (
        <Text size="xs" c="dimmed" px="sm" py={2} role="status">
          {streamText(stream, streamed)}
        </Text>
      ) : null}
      <div className={styles.body}>
        {rows.count === 0 ? (
          <Text c="dimmed" p="lg" className={styles.empty}>
            {stream !== null && lines > 0
              ? `Nothing was written to ${stream}${running ? " yet" : ""}.`
              : running
                ? "Nothing was written yet."
                : "This log is empty: the task wrote nothing."}
          </Text>
        ) : (
          <Viewer
            store={store}
            events={events}
            readOn={readOn}
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
          <SearchPanel
            id={id}
            length={store.place.nextOffset}
            onHits={setHits}
            onShow={show}
            current={current}
            onClose={() => setPanel(null)}
          />
        ) : null}
        {panel === "about" ? <About log={log} events={events} onClose={() => setPanel(null)} /> : null}
      </div>
    </div>
  );
}
