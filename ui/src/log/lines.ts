// A log's lines as they come in chunks: cut, numbered, with who wrote them and when.

import { bytesOf, type Chunk, type Gap } from "../api/client";

/** Longer lines are shown in part; the rest is a click away. */
export const SHOWN_LINE_BYTES = 16_384;

export type StreamName = "stdout" | "stderr";

export interface Line {
  /** From 1. */
  number: number;
  /** Of the line's first byte that is here. */
  offset: number;
  /** Without the newline; a part of it where the line is long. */
  bytes: Uint8Array;
  /** Bytes of the line that are known of, those not shown too. */
  length: number;
  stream: StreamName;
  /** Microseconds since 1970; 0 where not known. */
  timeUs: number;
  /** The newline is here: nothing will be added. */
  complete: boolean;
  /** Bytes that are missing right before this line's first byte, with the reason. */
  gap?: Gap;
  /** Bytes that are missing within it. */
  inside?: Gap;
}

const NEWLINE = 10;

function frameAt(chunk: Chunk, place: number, from: number): number {
  const starts = chunk.frames?.starts ?? [];
  let index = from;
  while (index + 1 < starts.length && (starts[index + 1] ?? 0) <= place) index++;
  return index;
}

/**
 * The lines of a chunk. The first may be the rest of a line that began before it, and the last may go on.
 * most: more lines are left out.
 */
export function cutLines(chunk: Chunk, most = Number.POSITIVE_INFINITY): Line[] {
  const bytes = bytesOf(chunk);
  const lines: Line[] = [];
  let frame = 0;
  let begin = 0;
  let number = chunk.line;
  while (begin < bytes.length && lines.length < most) {
    const newline = bytes.indexOf(NEWLINE, begin);
    const end = newline < 0 ? bytes.length : newline;
    frame = frameAt(chunk, begin, frame);
    lines.push({
      number,
      offset: chunk.offset + begin,
      bytes: bytes.subarray(begin, Math.min(end, begin + SHOWN_LINE_BYTES)),
      length: end - begin,
      stream: chunk.frames?.streams[frame] === 2 ? "stderr" : "stdout",
      timeUs: chunk.frames?.times_us[frame] ?? 0,
      complete: newline >= 0,
    });
    number++;
    begin = end + 1;
  }
  const gap = chunk.gaps.at(-1);
  const first = lines[0];
  if (gap !== undefined && first !== undefined) first.gap = gap;
  return lines;
}

/** A line and what was written to it since. */
export function joinLines(line: Line, rest: Line): Line {
  const room = Math.max(0, SHOWN_LINE_BYTES - line.bytes.length);
  const bytes = new Uint8Array(line.bytes.length + Math.min(room, rest.bytes.length));
  bytes.set(line.bytes);
  bytes.set(rest.bytes.subarray(0, room), line.bytes.length);
  const length = rest.offset + rest.length - line.offset;
  const joined: Line = { ...line, bytes, length, complete: rest.complete };
  const inside = rest.gap ?? rest.inside ?? line.inside;
  if (inside !== undefined) joined.inside = inside;
  return joined;
}
