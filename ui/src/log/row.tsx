// One line of a log.

import { memo, type ReactNode, useState } from "react";
import type { Gap, LogEvent } from "../api/client";
import { momentText } from "../parts/format";
import { useZone } from "../parts/zone";
import type { Line } from "./lines";
import { notesOf } from "./notes";
import { decode, type Span, spansOf, states } from "./text";
import { type TimeStyle, timeText } from "./time";
import styles from "./viewer.module.css";

/** Reads on in a long line. */
export type ReadOn = (offset: number, limit: number) => Promise<Uint8Array>;

export interface RowProps {
  number: number;
  line: Line | undefined;
  /** The line lies in a gap. */
  absent: boolean;
  /** Of the log, by offset. */
  events: readonly LogEvent[];
  readOn: ReadOn;
  times: TimeStyle;
  startUs: number;
  selected: boolean;
  mark: "error" | "warning" | undefined;
  hit: boolean;
  current: boolean;
  group: "open" | "folded" | undefined;
  depth: number;
  /** Tab goes to this line's number: to one of all that are there. */
  tabStop: boolean;
  onFocusNumber: (number: number) => void;
  onSelect: (number: number, extend: boolean) => void;
  onFold: (number: number) => void;
}

function styleOf(span: Span): React.CSSProperties | undefined {
  if (span.color === undefined && span.background === undefined) return undefined;
  return {
    ...(span.color === undefined ? {} : { color: `rgb(${span.color})` }),
    ...(span.background === undefined ? {} : { backgroundColor: `rgb(${span.background})` }),
  };
}

export function Spans({ text }: { text: string }): ReactNode {
  return spansOf(text).map((span, index) => {
    const names = span.classes.map((name) => styles[name] ?? "").join(" ");
    // Spans of a line never move: their place is their identity.
    const key = `${index}`;
    if (span.href !== undefined) {
      return (
        <a
          key={key}
          className={`${styles.link} ${names}`}
          href={span.href}
          target="_blank"
          rel="noopener noreferrer nofollow"
        >
          {span.text}
        </a>
      );
    }
    const style = styleOf(span);
    if (names === "" && style === undefined) return span.text;
    return (
      <span key={key} className={names} style={style}>
        {span.text}
      </span>
    );
  });
}

function sizeText(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

/** Bytes of a long line that are read on at once, and that are shown at most: browsers lay out no more of one line. */
const MORE_BYTES = 64 * 1024;
const MOST_BYTES = 512 * 1024;

function gapText(gap: Gap): string {
  return `${sizeText(gap.length)} are missing here (${gap.reason.replaceAll("_", " ")})`;
}

function Content({ line, readOn }: { line: Line; readOn: ReadOn }): ReactNode {
  const [all, setAll] = useState(false);
  const [more, setMore] = useState<Uint8Array | null>(null);
  const [reading, setReading] = useState(false);
  const bytes = more ?? line.bytes;
  const shown = states(decode(bytes));
  const cut = line.length - bytes.length;
  const read = (): void => {
    setReading(true);
    readOn(line.offset + bytes.length, MORE_BYTES)
      .then((next) => {
        const newline = next.indexOf(10);
        const part = newline < 0 ? next : next.subarray(0, newline);
        const both = new Uint8Array(bytes.length + part.length);
        both.set(bytes);
        both.set(part, bytes.length);
        setMore(both);
      })
      .catch(() => {})
      .finally(() => setReading(false));
  };
  return (
    <>
      {shown.length > 1 ? (
        <button
          type="button"
          className={styles.states}
          aria-expanded={all}
          aria-label={`All ${shown.length} states of this line`}
          title="This line was written over; show all that it said"
          onClick={() => setAll(!all)}
        >
          {all ? "last" : `×${shown.length}`}
        </button>
      ) : null}
      {(all ? shown : shown.slice(-1)).map((text, index) => (
        <span key={index} className={all ? styles.state : undefined}>
          <Spans text={text} />
        </span>
      ))}
      {line.inside ? <span className={styles.note}> {gapText(line.inside)}</span> : null}
      {cut > 0 ? (
        <span className={styles.note} data-note="">
          {" … "}
          {line.complete ? sizeText(cut) : `${sizeText(cut)} and more`} of this line not shown
          {bytes.length < MOST_BYTES ? (
            <button type="button" className={styles.more} disabled={reading} onClick={read}>
              show more
            </button>
          ) : (
            ": open it as text"
          )}
        </span>
      ) : null}
    </>
  );
}

function Events({ events }: { events: readonly LogEvent[] }): ReactNode {
  return events.map((event) => (
    <div key={`${event.at}${event.kind}`} className={styles.event} role="note">
      {event.kind.replaceAll("_", " ")}: {event.message} <time>{momentText(event.at)}</time>
    </div>
  ));
}

export const Row = memo(function Row(props: RowProps): ReactNode {
  const { number, line, group } = props;
  useZone();
  const names = [
    styles.row,
    line?.stream === "stderr" ? styles.stderr : "",
    props.mark === "error" ? styles.error : props.mark === "warning" ? styles.warning : "",
    props.selected ? styles.selected : "",
    props.hit ? styles.hit : "",
    props.current ? styles.current : "",
    group !== undefined ? styles.group : "",
  ];
  const notes = notesOf(line, props.events);
  return (
    <div className={names.join(" ")} data-line={number}>
      <Events events={notes.before} />
      {line?.gap ? (
        <div className={styles.gap} role="note">
          {gapText(line.gap)}
        </div>
      ) : null}
      <div className={styles.cells}>
        {group !== undefined ? (
          <button
            type="button"
            className={styles.fold}
            aria-expanded={group === "open"}
            aria-label={`Group at line ${number}`}
            onClick={() => props.onFold(number)}
          >
            {group === "open" ? "▾" : "▸"}
          </button>
        ) : (
          <span className={styles.fold} />
        )}
        <a
          className={styles.number}
          href={`${window.location.pathname}#L${number}`}
          aria-label={`Line ${number}`}
          data-number=""
          tabIndex={props.tabStop ? 0 : -1}
          onFocus={() => props.onFocusNumber(number)}
          onClick={(event) => {
            event.preventDefault();
            props.onSelect(number, event.shiftKey);
          }}
        >
          {number}
        </a>
        {props.times !== "none" ? (
          <time className={styles.time}>{line ? timeText(line.timeUs, props.times, props.startUs) : ""}</time>
        ) : null}
        <span
          className={styles.text}
          data-text={line === undefined ? undefined : ""}
          dir="ltr"
          style={props.depth > 0 ? { paddingLeft: `${props.depth}em` } : undefined}
        >
          {line === undefined ? (
            <span className={styles.waiting}>{props.absent ? "this line is missing" : "…"}</span>
          ) : (
            <Content line={line} readOn={props.readOn} />
          )}
        </span>
      </div>
      <Events events={notes.after} />
    </div>
  );
});
