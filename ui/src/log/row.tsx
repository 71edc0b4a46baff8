// One line of a log.

import { memo, type ReactNode, useState } from "react";
import type { Line } from "./lines";
import { decode, type Span, spansOf, states } from "./text";
import { type TimeStyle, timeText } from "./time";
import styles from "./viewer.module.css";

export interface RowProps {
  number: number;
  line: Line | undefined;
  times: TimeStyle;
  startUs: number;
  selected: boolean;
  mark: "error" | "warning" | undefined;
  hit: boolean;
  current: boolean;
  group: "open" | "folded" | undefined;
  depth: number;
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

function Content({ line }: { line: Line }): ReactNode {
  const [all, setAll] = useState(false);
  const shown = states(decode(line.bytes));
  const cut = line.length - line.bytes.length;
  return (
    <>
      {shown.length > 1 ? (
        <button
          type="button"
          className={styles.states}
          aria-expanded={all}
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
      {cut > 0 ? <span className={styles.note}> … {sizeText(cut)} more of this line: open it as text</span> : null}
    </>
  );
}

export const Row = memo(function Row(props: RowProps): ReactNode {
  const { number, line, group } = props;
  const names = [
    styles.row,
    line?.stream === "stderr" ? styles.stderr : "",
    props.mark === "error" ? styles.error : props.mark === "warning" ? styles.warning : "",
    props.selected ? styles.selected : "",
    props.hit ? styles.hit : "",
    props.current ? styles.current : "",
  ];
  return (
    <div className={names.join(" ")} data-line={number}>
      {line?.gap ? (
        <div className={styles.gap} role="note">
          {sizeText(line.gap.length)} are missing here ({line.gap.reason.replaceAll("_", " ")})
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
          href={`#L${number}`}
          aria-label={`Line ${number}`}
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
          dir="ltr"
          style={props.depth > 0 ? { paddingLeft: `${props.depth}em` } : undefined}
        >
          {line === undefined ? <span className={styles.waiting}>…</span> : <Content line={line} />}
        </span>
      </div>
    </div>
  );
});
