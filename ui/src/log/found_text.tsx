// Lines that a search has found, with those around them.

import type { ReactNode } from "react";
import type { FoundHit, FoundLine } from "../api/client";
import styles from "./panel.module.css";
import { visible } from "./text";

/** As many as the leader gives. */
export const MAX_CONTEXT_LINES = 20;

export function FoundText({ line }: { line: FoundLine }): ReactNode {
  const clean = (text: string): string => visible(text).replace(/\x1b\[[0-9;:]*m|[\r\n]/g, "");
  return (
    <div className={styles.line} dir="ltr">
      {line.parts.map((part, index) =>
        part.match ? <mark key={index}>{clean(part.text)}</mark> : <span key={index}>{clean(part.text)}</span>,
      )}
      {line.cut ? " …" : ""}
    </div>
  );
}

/** The line of a hit in its place among those around it. */
export function FoundLines({ hit }: { hit: FoundHit }): ReactNode {
  return [...hit.before, hit.line, ...hit.after].map((line) => (
    <div key={line.line} className={`${styles.numbered} ${line === hit.line ? "" : styles.around}`}>
      <span className={styles.number}>{line.line}</span>
      <FoundText line={line} />
    </div>
  ));
}
