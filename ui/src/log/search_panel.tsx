// Search in one log: on the server, over all of it.

import {
  ActionIcon,
  Button,
  Checkbox,
  Group,
  NumberInput,
  Progress,
  SegmentedControl,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { type FoundHit, type LogId, logPath, type Parameters } from "../api/client";
import { bytesText, countText } from "../parts/format";
import { FoundLines, FoundText, MAX_CONTEXT_LINES } from "./found_text";
import styles from "./panel.module.css";
import { useSearch } from "./use_search";

/** How often a live log is searched for what was written since. */
const AGAIN_MS = 2_000;
const MAX_HITS = 10_000;

interface SearchPanelProps {
  id: LogId;
  /** Bytes of the log so far. */
  length: number;
  current: number | null;
  onHits: (hits: readonly FoundHit[]) => void;
  onShow: (line: number) => void;
  onClose: () => void;
}

export function SearchPanel({ id, length, current, onHits, onShow, onClose }: SearchPanelProps): ReactNode {
  const { state, start, goOn, stop, clear } = useSearch(`${logPath(id)}/search`);
  const [text, setText] = useState("");
  const [regex, setRegex] = useState(false);
  const [matchCase, setMatchCase] = useState(false);
  const [stream, setStream] = useState("");
  const [around, setAround] = useState<number | string>(0);
  const list = useRef<HTMLDivElement>(null);
  const { found } = state;
  const rows = useVirtualizer({
    count: found.length,
    getScrollElement: () => list.current,
    estimateSize: () => 45,
    overscan: 10,
  });

  useEffect(() => onHits(found.map((one) => one.hit)), [found, onHits]);
  useEffect(() => () => onHits([]), [onHits]);

  // What is searched for, and up to where that was done or begun; null: nothing, or it was stopped.
  const asked = useRef<{ query: Parameters; until: number } | null>(null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    asked.current = null;
    if (text === "") {
      clear();
      return;
    }
    const query = {
      q: text,
      regex,
      ignore_case: !matchCase,
      stream,
      context_lines: Number(around) || 0,
      max_hits: MAX_HITS,
      max_seconds: 600,
    };
    asked.current = { query, until: length };
    start({ ...query, until_offset: length });
  };
  const halt = (): void => {
    asked.current = null;
    stop();
  };
  useEffect(() => {
    const { running, stopped, error } = state;
    if (running || stopped !== "" || error || found.length >= MAX_HITS || asked.current === null) return;
    if (length <= asked.current.until) return;
    const timer = setTimeout(() => {
      if (asked.current === null) return;
      const from = asked.current.until;
      asked.current.until = length;
      goOn({ ...asked.current.query, max_hits: MAX_HITS - found.length, from_offset: from, until_offset: length });
    }, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [state, found.length, length, goOn]);
  const move = (step: 1 | -1): void => {
    if (found.length === 0) return;
    const at = found.findIndex((one) => one.hit.line.line === current);
    const next = (at + step + found.length) % found.length;
    const line = found[at < 0 && step < 0 ? found.length - 1 : next]?.hit.line.line;
    if (line !== undefined) onShow(line);
  };

  return (
    <aside className={styles.panel} aria-label="Search in this log">
      <form onSubmit={submit}>
        <Group justify="space-between" p="sm" pb={4}>
          <Title order={2} size="h5">
            Search
          </Title>
          <ActionIcon variant="subtle" color="gray" aria-label="Close the search" onClick={onClose}>
            <IconX size={16} />
          </ActionIcon>
        </Group>
        <Group px="sm" pb="xs" gap="xs" align="flex-end" wrap="nowrap">
          <TextInput
            flex={1}
            autoFocus
            aria-label="What to search for"
            placeholder={regex ? "Regular expression (RE2)" : "Text"}
            value={text}
            maxLength={1000}
            onChange={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") onClose();
              if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                event.preventDefault();
                move(event.key === "ArrowDown" ? 1 : -1);
              }
            }}
          />
          {/* Two buttons: one that became the other would submit the form with the click that stopped. */}
          {state.running ? (
            <Button key="stop" variant="default" onClick={halt}>
              Stop
            </Button>
          ) : (
            <Button key="start" type="submit">
              Search
            </Button>
          )}
        </Group>
        <Group px="sm" pb="xs" gap="md">
          <Checkbox
            size="xs"
            label="Expression"
            checked={regex}
            onChange={(event) => setRegex(event.currentTarget.checked)}
          />
          <Checkbox
            size="xs"
            label="Match case"
            checked={matchCase}
            onChange={(event) => setMatchCase(event.currentTarget.checked)}
          />
          <SegmentedControl
            size="xs"
            aria-label="Stream"
            value={stream}
            onChange={setStream}
            data={[
              { value: "", label: "all" },
              { value: "stdout", label: "stdout" },
              { value: "stderr", label: "stderr" },
            ]}
          />
          <Group gap={6} wrap="nowrap">
            <NumberInput
              size="xs"
              aria-label="Lines around each hit"
              min={0}
              max={MAX_CONTEXT_LINES}
              w={56}
              value={around}
              onChange={setAround}
            />
            <Text size="xs">lines around</Text>
          </Group>
        </Group>
      </form>
      {state.running ? (
        <Progress size="xs" value={(100 * state.at) / Math.max(1, state.length)} aria-label="Searched" />
      ) : null}
      <Text size="xs" c="dimmed" px="sm" pb={4} role="status" aria-live="polite">
        {state.error instanceof Error
          ? state.error.message
          : state.bytes > 0 || found.length > 0
            ? `${countText(found.length)} ${found.length === 1 ? "line" : "lines"} in ${bytesText(state.bytes)}${
                state.stopped === "hits" ? ", and more" : state.stopped === "time" ? "; the time was up" : ""
              }`
            : state.running
              ? "Searching"
              : ""}
      </Text>
      <div
        ref={list}
        className={styles.content}
        style={{ overflow: "auto" }}
        tabIndex={0}
        role="region"
        aria-label="Lines found"
      >
        <div style={{ height: rows.getTotalSize(), position: "relative" }}>
          {rows.getVirtualItems().map((item) => {
            const hit = found[item.index]?.hit;
            if (hit === undefined) return null;
            return (
              <button
                key={item.key}
                ref={rows.measureElement}
                data-index={item.index}
                type="button"
                className={`${styles.found} ${hit.line.line === current ? styles.chosen : ""}`}
                style={{ position: "absolute", top: 0, transform: `translateY(${item.start}px)` }}
                onClick={() => onShow(hit.line.line)}
              >
                {hit.before.length + hit.after.length > 0 ? (
                  <FoundLines hit={hit} />
                ) : (
                  <>
                    <Text size="xs" c="dimmed">
                      Line {countText(hit.line.line)}
                    </Text>
                    <FoundText line={hit.line} />
                  </>
                )}
              </button>
            );
          })}
        </div>
      </div>
    </aside>
  );
}
