// One row of a comparison: the line of each side, and what of it differs.

import { diffWordsWithSpace } from "diff";
import { type ReactNode, useMemo } from "react";
import { Link } from "react-router";
import styles from "./compare.module.css";
import type { Row } from "./lines";

// Words of longer lines are not held against each other: it would take too long while scrolling.
const MAX_CHARACTERS = 1_000;
const MIN_COMMON = 0.3;

interface Piece {
  text: string;
  differs: boolean;
}

export function wordsOf(left: string, right: string): { left: Piece[]; right: Piece[] } | null {
  if (left.length > MAX_CHARACTERS || right.length > MAX_CHARACTERS) return null;
  const parts = diffWordsWithSpace(left, right);
  const common = parts
    .filter((part) => !part.added && !part.removed)
    .map((part) => part.value.trim())
    .join("");
  // Little in common: marking most of both says nothing.
  if (common.length < MIN_COMMON * Math.max(left.length, right.length)) return null;
  const side = (other: "added" | "removed", own: "added" | "removed"): Piece[] =>
    parts.filter((part) => !part[other]).map((part) => ({ text: part.value, differs: part[own] === true }));
  return { left: side("added", "removed"), right: side("removed", "added") };
}

interface CellProps {
  line: number;
  text: string;
  pieces: Piece[] | undefined;
  kind: "same" | "removed" | "added";
  /** The page of the log. */
  path: string;
  /** The same line as the one beside it: left out where both stand below each other. */
  twin?: boolean;
}

const names = { same: "", removed: "−", added: "+" };

function Cell({ line, text, pieces, kind, path, twin = false }: CellProps): ReactNode {
  return (
    <div role="cell" className={`${styles.cell} ${kind === "same" ? "" : styles[kind]} ${twin ? styles.twin : ""}`}>
      <Link className={styles.number} to={`${path}#L${line + 1}`} aria-label={`Line ${line + 1} in its log`}>
        {line + 1}
      </Link>
      <span aria-hidden>{names[kind]}</span>
      <span className={styles.text} dir="ltr">
        {pieces
          ? pieces.map((piece, index) =>
              piece.differs ? <mark key={index}>{piece.text}</mark> : <span key={index}>{piece.text}</span>,
            )
          : text}
      </span>
    </div>
  );
}

function Nothing(): ReactNode {
  return <div role="cell" aria-label="no line" className={`${styles.cell} ${styles.nothing}`} />;
}

interface RowProps {
  row: Row;
  left: readonly string[];
  right: readonly string[];
  leftPath: string;
  rightPath: string;
}

export function CompareRow({ row, left, right, leftPath, rightPath }: RowProps): ReactNode {
  const leftText = "left" in row ? (left[row.left] ?? "") : "";
  const rightText = "right" in row ? (right[row.right] ?? "") : "";
  const words = useMemo(
    () => (row.kind === "changed" ? wordsOf(leftText, rightText) : null),
    [row.kind, leftText, rightText],
  );
  const same = row.kind === "same";
  return (
    <>
      {"left" in row ? (
        <Cell line={row.left} text={leftText} pieces={words?.left} kind={same ? "same" : "removed"} path={leftPath} />
      ) : (
        <Nothing />
      )}
      {"right" in row ? (
        <Cell
          line={row.right}
          text={rightText}
          pieces={words?.right}
          kind={same ? "same" : "added"}
          path={rightPath}
          twin={same}
        />
      ) : (
        <Nothing />
      )}
    </>
  );
}
