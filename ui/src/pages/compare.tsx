import {
  ActionIcon,
  Alert,
  Anchor,
  Button,
  Group,
  Select,
  Switch,
  Text,
  Title,
  Tooltip,
  UnstyledButton,
} from "@mantine/core";
import { useDocumentTitle, useHotkeys } from "@mantine/hooks";
import { IconArrowDown, IconArrowUp, IconRefresh } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { getJson, type Log, type Logs, runPath } from "../api/client";
import styles from "../compare/compare.module.css";
import { differences, shownRows } from "../compare/folds";
import { CompareRow } from "../compare/row";
import { MAX_BYTES, type Side, useComparison } from "../compare/use_comparison";
import { LogState } from "../parts/badges";
import { bytesText, countText, momentText } from "../parts/format";
import { logUrl, runUrl } from "../parts/links";
import { Empty, Failure, Loading } from "../parts/states";

function SideHead({ side, attempt }: { side: Side | undefined; attempt: number }): ReactNode {
  return (
    <div className={styles.side}>
      <Group gap="xs">
        <Text size="sm" fw={600}>
          Attempt {attempt}
        </Text>
        {side ? <LogState log={side.log} brief /> : null}
      </Group>
      {side ? (
        <Text size="xs" c="dimmed">
          {momentText(side.log.start?.started_at ?? side.log.created_at)} · {bytesText(side.log.length)}
          {side.bytes < side.log.length ? `, the first ${bytesText(side.bytes)} compared` : ""}
        </Text>
      ) : null}
    </div>
  );
}

function Compared({
  id,
  left,
  right,
}: {
  id: Pick<Log, "namespace" | "run" | "task">;
  left: number;
  right: number;
}): ReactNode {
  const [ignore, setIgnore] = useState(true);
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const [chosen, setChosen] = useState(-1);
  const found = useComparison({ ...id, attempt: left }, { ...id, attempt: right }, ignore);
  const { comparison } = found;
  const shown = useMemo(() => (comparison ? shownRows(comparison.rows, open) : []), [comparison, open]);
  const starts = useMemo(() => differences(shown), [shown]);
  const counts = useMemo(() => {
    const rows = comparison?.rows ?? [];
    return {
      left: rows.filter((row) => row.kind === "removed" || row.kind === "changed").length,
      right: rows.filter((row) => row.kind === "added" || row.kind === "changed").length,
    };
  }, [comparison]);
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 18,
    overscan: 30,
  });
  const jump = (step: 1 | -1): void => {
    const following = step === 1 ? starts.find((start) => start > chosen) : starts.findLast((start) => start < chosen);
    const next = following ?? (step === 1 ? starts[0] : starts.at(-1));
    if (next === undefined) return;
    setChosen(next);
    rows.scrollToIndex(next, { align: "center" });
  };
  useHotkeys([
    ["n", () => jump(1)],
    ["p", () => jump(-1)],
  ]);
  const paths = [left, right].map((attempt) => logUrl({ ...id, attempt }));
  const said = found.running
    ? found.left && found.right
      ? "Comparing"
      : "Reading both logs"
    : starts.length === 0
      ? "No difference"
      : `${countText(starts.length)} ${starts.length === 1 ? "difference" : "differences"}: ${countText(counts.left)} ${counts.left === 1 ? "line" : "lines"} on the left, ${countText(counts.right)} on the right`;
  return (
    <>
      <Group className={styles.head} gap="sm">
        <Switch
          size="sm"
          label="Ignore times, addresses, durations, temp paths"
          checked={ignore}
          onChange={(event) => {
            setIgnore(event.currentTarget.checked);
            setOpen(new Set());
            setChosen(-1);
          }}
        />
        <Text size="sm" c="dimmed" role="status" aria-live="polite">
          {found.error ? "" : said}
        </Text>
        <span className={styles.space} />
        <Tooltip label="Difference before (p)">
          <ActionIcon
            variant="default"
            aria-label="Difference before"
            disabled={starts.length === 0}
            onClick={() => jump(-1)}
          >
            <IconArrowUp size={16} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label="Next difference (n)">
          <ActionIcon
            variant="default"
            aria-label="Next difference"
            disabled={starts.length === 0}
            onClick={() => jump(1)}
          >
            <IconArrowDown size={16} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label="Read both again">
          <ActionIcon variant="default" aria-label="Read both again" onClick={found.again}>
            <IconRefresh size={16} />
          </ActionIcon>
        </Tooltip>
      </Group>
      {found.error ? <Failure error={found.error} retry={found.again} /> : null}
      {comparison && !comparison.aligned ? (
        <Alert color="orange" m="sm" title="They have little in common">
          Lining them up took too long: what differs stands side by side as it comes.
        </Alert>
      ) : null}
      {[found.left, found.right].some((side) => side && side.bytes < side.log.length) ? (
        <Text size="xs" c="dimmed" px="md" py={4}>
          The first {bytesText(MAX_BYTES)} of each log are compared.
        </Text>
      ) : null}
      <div className={styles.sides}>
        <SideHead side={found.left} attempt={left} />
        <SideHead side={found.right} attempt={right} />
      </div>
      {found.running ? <Loading label={said} /> : null}
      {comparison && shown.length === 0 ? <Empty title="Both logs are empty" /> : null}
      <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label="Both logs, line by line">
        <div role="table" aria-label="Both logs" aria-rowcount={shown.length}>
          <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
            {rows.getVirtualItems().map((item) => {
              const one = shown[item.index];
              if (one === undefined || comparison === null) return null;
              return (
                <div
                  key={item.key}
                  ref={rows.measureElement}
                  data-index={item.index}
                  role="row"
                  aria-rowindex={item.index + 1}
                  className={`${styles.placed} ${one.kind === "row" ? styles.row : ""} ${item.index === chosen ? styles.chosen : ""}`}
                  style={{ transform: `translateY(${item.start}px)` }}
                >
                  {one.kind === "fold" ? (
                    <div role="cell">
                      <UnstyledButton
                        className={styles.fold}
                        onClick={() => {
                          setOpen(new Set([...open, one.from]));
                          setChosen(-1);
                        }}
                      >
                        ⋯ {countText(one.to - one.from)} lines are the same: show them
                      </UnstyledButton>
                    </div>
                  ) : (
                    <CompareRow
                      row={one.row}
                      left={comparison.left}
                      right={comparison.right}
                      leftPath={paths[0] ?? ""}
                      rightPath={paths[1] ?? ""}
                    />
                  )}
                </div>
              );
            })}
          </div>
        </div>
      </div>
    </>
  );
}

export default function Compare(): ReactNode {
  const [query, setQuery] = useSearchParams();
  const text = (name: string): string => query.get(name) ?? "";
  const id = { namespace: text("namespace"), run: text("run"), task: text("task") };
  const [left, right] = [Number(text("left")), Number(text("right"))];
  useDocumentTitle(`${id.task} #${left} and #${right} · joblog`);
  const attempts = useQuery({
    queryKey: ["attempts", id.namespace, id.run, id.task],
    queryFn: ({ signal }) =>
      getJson<Logs>(`${runPath(id.namespace, id.run)}/logs`, { task: id.task, limit: 1000 }, signal),
    enabled: id.task !== "",
  });
  const isAttempt = (attempt: number): boolean => Number.isInteger(attempt) && attempt > 0;
  if (!id.namespace || !id.run || !id.task || !isAttempt(left) || !isAttempt(right))
    return (
      <Empty title="Which attempts?">
        Open a log that has other attempts: what it is, beside it, offers to compare them. <br />
        <Button component={Link} to="/runs" variant="default" mt="sm">
          All runs
        </Button>
      </Empty>
    );
  const options = [...new Set([left, right, ...(attempts.data?.logs ?? []).map((log) => log.attempt)])]
    .sort((one, other) => one - other)
    .map((attempt) => ({ value: String(attempt), label: `#${attempt}` }));
  const choose = (side: "left" | "right", label: string): ReactNode => (
    <Select
      size="xs"
      w={90}
      aria-label={label}
      data={options}
      value={text(side)}
      allowDeselect={false}
      onChange={(value) =>
        setQuery((before) => {
          const next = new URLSearchParams(before);
          next.set(side, value ?? text(side));
          return next;
        })
      }
    />
  );
  return (
    <div className={styles.page}>
      <div className={styles.head}>
        <Anchor component={Link} to={runUrl(id)} size="sm" truncate maw="100%" display="block" title={id.run}>
          {id.run}
        </Anchor>
        <Group gap="xs">
          <Title order={1} size="h4" lineClamp={2} className={styles.title} title={id.task}>
            Attempts of {id.task}
          </Title>
          {choose("left", "Attempt on the left")}
          <Text size="sm" c="dimmed">
            and
          </Text>
          {choose("right", "Attempt on the right")}
        </Group>
      </div>
      <Compared key={`${left} ${right}`} id={id} left={left} right={right} />
    </div>
  );
}
