import { describe, expect, it } from "vitest";
import type { LogEvent } from "../api/client";
import type { Line } from "./lines";
import { mergedEvents, notesOf } from "./notes";

const event = (offset: number, kind = "k", at = "2026-01-01T00:00:00Z"): LogEvent => ({
  offset,
  at,
  kind,
  message: "",
});
const line = (number: number, offset: number, length: number, complete = true, gapLength = 0): Line => ({
  number,
  offset,
  bytes: new Uint8Array(length),
  length,
  stream: "stdout",
  timeUs: 0,
  complete,
  ...(gapLength > 0 ? { gap: { offset: offset - gapLength, length: gapLength, reason: "limit", newlines: 0 } } : {}),
});

describe("events at their places", () => {
  it("stand at one line each", () => {
    // Lines of 4 bytes and a newline; bytes 10 to 19 are missing; the last line goes on.
    const lines = [line(1, 0, 4), line(2, 5, 4), line(3, 20, 4, true, 10), line(4, 25, 2, false)];
    const events = [0, 1, 5, 7, 10, 15, 20, 24, 25, 27].map((offset) => event(offset));
    const places = lines.map((one) => {
      const { before, after } = notesOf(one, events);
      return [before.map((found) => found.offset), after.map((found) => found.offset)];
    });
    expect(places).toEqual([
      [[0], [1, 5]],
      [[], [7, 10]],
      [
        [15, 20],
        [24, 25],
      ],
      [[], [27]],
    ]);
  });
  it("are each there once, in order", () => {
    const [one, other] = [event(5, "b"), event(1, "a")];
    expect(mergedEvents([one], [other, { ...one }])).toEqual([other, one]);
  });
});
