// Two texts, line by line: what is the same, and what stands on one side only.

import { diffArrays } from "diff";
import { normal, shownLine } from "./normal";

/** A row of the comparison; left and right are line numbers from 0. */
export type Row =
  | { kind: "same"; left: number; right: number }
  | { kind: "changed"; left: number; right: number }
  | { kind: "removed"; left: number }
  | { kind: "added"; right: number };

export interface Comparison {
  left: string[];
  right: string[];
  rows: Row[];
  /** False: they are so different that it took too long; the middle is not lined up. */
  aligned: boolean;
}

const TIME_LIMIT_MS = 10_000;
// Of a line, so much is compared and shown.
export const LINE_CHARACTERS = 4_000;

export function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line) => shownLine(line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)} …` : line));
}

interface Block {
  kind: "same" | "removed" | "added";
  count: number;
}

/** Each different line becomes a number, so that comparing two is cheap. */
function numbered(texts: readonly string[], known: Map<string, number>): number[] {
  return texts.map((text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    known.set(text, known.size);
    return known.size - 1;
  });
}

function blocksOf(left: number[], right: number[], limitMs: number): Block[] | null {
  const found = diffArrays(left, right, { timeout: limitMs });
  if (found === undefined) return null;
  return found.map((part) => ({ kind: part.added ? "added" : part.removed ? "removed" : "same", count: part.count }));
}

function rowsOf(blocks: readonly Block[], at: number): Row[] {
  const rows: Row[] = [];
  let left = at;
  let right = at;
  for (let index = 0; index < blocks.length; index++) {
    const block = blocks[index];
    if (block === undefined) break;
    if (block.kind === "same") {
      for (let one = 0; one < block.count; one++) rows.push({ kind: "same", left: left++, right: right++ });
      continue;
    }
    // What went and what came in its place stand side by side.
    const next = blocks[index + 1];
    const paired = next !== undefined && next.kind !== "same" && next.kind !== block.kind;
    if (paired) index++;
    const counts = { removed: 0, added: 0 };
    counts[block.kind] = block.count;
    if (paired) counts[next.kind as "removed" | "added"] = next.count;
    const both = Math.min(counts.removed, counts.added);
    for (let one = 0; one < both; one++) rows.push({ kind: "changed", left: left++, right: right++ });
    for (let one = both; one < counts.removed; one++) rows.push({ kind: "removed", left: left++ });
    for (let one = both; one < counts.added; one++) rows.push({ kind: "added", right: right++ });
  }
  return rows;
}

/** ignore: whether times, addresses, durations and temp paths count as the same. */
export function compare(left: string, right: string, ignore: boolean, limitMs = TIME_LIMIT_MS): Comparison {
  const [leftLines, rightLines] = [linesOf(left), linesOf(right)];
  const known = new Map<string, number>();
  const key = (lines: string[]): number[] => numbered(ignore ? lines.map(normal) : lines, known);
  const [leftKeys, rightKeys] = [key(leftLines), key(rightLines)];
  // What both begin and end with needs no search.
  const shorter = Math.min(leftKeys.length, rightKeys.length);
  let head = 0;
  while (head < shorter && leftKeys[head] === rightKeys[head]) head++;
  let tail = 0;
  while (tail < shorter - head && leftKeys.at(-1 - tail) === rightKeys.at(-1 - tail)) tail++;
  const leftMiddle = leftKeys.slice(head, leftKeys.length - tail);
  const rightMiddle = rightKeys.slice(head, rightKeys.length - tail);
  const middle = blocksOf(leftMiddle, rightMiddle, limitMs);
  const rows: Row[] = [];
  for (let one = 0; one < head; one++) rows.push({ kind: "same", left: one, right: one });
  const apart: Block[] = [
    { kind: "removed", count: leftMiddle.length },
    { kind: "added", count: rightMiddle.length },
  ];
  for (const row of rowsOf(middle ?? apart, head)) rows.push(row);
  for (let one = tail; one > 0; one--)
    rows.push({ kind: "same", left: leftKeys.length - one, right: rightKeys.length - one });
  return { left: leftLines, right: rightLines, rows, aligned: middle !== null };
}
