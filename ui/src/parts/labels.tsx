// Labels of a run: a few of them in a row, the others on demand.

import { Badge, UnstyledButton } from "@mantine/core";
import { type ReactNode, useState } from "react";
import styles from "./labels.module.css";

interface LabelsProps {
  labels: Readonly<Record<string, string>>;
  /** So many are shown at first. */
  most: number;
  /** What choosing one does; without it they are mere text. */
  onLabel?: (label: string) => void;
}

/** By name. */
export function labelsInOrder(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1));
}

export function Labels({ labels, most, onLabel }: LabelsProps): ReactNode {
  const [all, setAll] = useState(false);
  const texts = labelsInOrder(labels).map(([name, value]) => `${name}=${value}`);
  const rest = texts.length - most;
  const look = { size: "sm", variant: "default", tt: "none", fw: 400, className: styles.label } as const;
  return (
    <span className={styles.labels}>
      {(all ? texts : texts.slice(0, most)).map((text) =>
        onLabel === undefined ? (
          <Badge key={text} {...look} title={text}>
            <bdi>{text}</bdi>
          </Badge>
        ) : (
          <Badge
            key={text}
            {...look}
            component="button"
            type="button"
            title={text}
            aria-label={`Only runs with ${text}`}
            onClick={() => onLabel(text)}
          >
            <bdi>{text}</bdi>
          </Badge>
        ),
      )}
      {rest > 0 ? (
        <UnstyledButton className={styles.more} aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "fewer" : `+${rest}`}
          <span className={styles.spoken}> labels</span>
        </UnstyledButton>
      ) : null}
    </span>
  );
}
