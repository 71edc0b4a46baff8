// Text of lines that need not be in memory: to copy, to save.

import { cutLines, joinLines, type Line } from "./lines";
import type { Fetch } from "./store";

const WINDOW_BYTES = 1 << 20;
/** What fits into a clipboard without freezing the browser. */
export const MAX_COPY_BYTES = 8 << 20;

export interface Copied {
  lines: Line[];
  /** The lines do not all fit. */
  cut: boolean;
}

/** The lines [first, last]; of long lines what is shown of them. */
export async function linesBetween(fetch: Fetch, first: number, last: number, signal: AbortSignal): Promise<Copied> {
  const lines: Line[] = [];
  let bytes = 0;
  let where: Record<string, number> = { line: first };
  for (;;) {
    const chunk = await fetch({ ...where, limit: WINDOW_BYTES }, signal);
    for (const line of cutLines(chunk)) {
      if (line.number > last) return { lines, cut: false };
      const open = lines.at(-1);
      if (open !== undefined && open.number === line.number) lines[lines.length - 1] = joinLines(open, line);
      else lines.push(line);
      bytes += line.bytes.length;
    }
    const end = lines.at(-1);
    if (end !== undefined && end.number === last && end.complete) return { lines, cut: false };
    if (chunk.next_offset === chunk.offset && chunk.data_base64 === "") return { lines, cut: false };
    if (bytes >= MAX_COPY_BYTES) return { lines, cut: true };
    where = { offset: chunk.next_offset };
  }
}

/** The bytes that the lines [first, last] lie in; `until` is 0 where they go to the end. */
export async function placeOf(
  fetch: Fetch,
  first: number,
  last: number,
  signal: AbortSignal,
): Promise<{ from: number; until: number }> {
  const [begin, end] = await Promise.all([
    fetch({ line: first, limit: 1 }, signal),
    fetch({ line: last + 1, limit: 1 }, signal),
  ]);
  return { from: begin.offset, until: end.line > last ? end.offset : 0 };
}
