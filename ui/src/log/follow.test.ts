import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, type Chunk } from "../api/client";
import { follow } from "./follow";
import { type Fetch, LineStore } from "./store";

type Asked = Record<string, string | number | boolean>;

function chunkOf(offset: number, text: string, more: Partial<Chunk> = {}): Chunk {
  return {
    offset,
    next_offset: offset + text.length,
    first_offset: 0,
    line: 1 + offset / 2,
    state: "live",
    tier: "buffer",
    gaps: [],
    gap_follows: false,
    events: [],
    events_seen: "",
    poll_after_ms: 0,
    data_base64: btoa(text),
    text,
    frames: { streams: [1], starts: [0], lengths: [text.length], times_us: [1] },
    ...more,
  };
}

/** Answers with what the steps say, in their order; then aborts. */
function leader(...steps: ((asked: Asked) => Chunk)[]): {
  fetch: Fetch;
  asked: Asked[];
  at: number[];
  end: AbortController;
} {
  const end = new AbortController();
  const asked: Asked[] = [];
  const at: number[] = [];
  const fetch: Fetch = async (parameters) => {
    asked.push(parameters);
    at.push(Date.now());
    const step = steps[asked.length - 1];
    if (step === undefined) {
      end.abort();
      return chunkOf(Number(parameters.offset), "");
    }
    return step(parameters);
  };
  return { fetch, asked, at, end };
}

function away(): never {
  throw new ApiError(0, "UNAVAILABLE", "the leader can't be reached");
}

function hide(hidden: boolean): void {
  vi.spyOn(document, "hidden", "get").mockReturnValue(hidden);
}

async function followed(steps: ((asked: Asked) => Chunk)[]) {
  const { fetch, asked, at, end } = leader(...steps);
  const offline: boolean[] = [];
  const done = follow(new LineStore(fetch), fetch, end.signal, (gone) => offline.push(gone));
  await vi.runAllTimersAsync();
  await done;
  const gaps = at.slice(1).map((when, index) => when - (at[index] as number));
  return { asked, gaps, offline };
}

describe("follow", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    hide(false);
  });
  afterEach(() => vi.useRealTimers());

  it("asks for what was appended, and for nothing once the log is completed and all of it is here", async () => {
    const { asked } = await followed([
      () => chunkOf(0, "a\n"),
      () => chunkOf(2, "b\n", { state: "completed" }),
      () => chunkOf(4, "", { state: "completed" }),
      () => expect.unreachable("it is completed"),
    ]);
    expect(asked.map(({ offset }) => offset)).toEqual([0, 2, 4]);
    expect(asked.map(({ wait }) => wait)).toEqual([25, 25, 25]);
  });

  it("asks when the leader says", async () => {
    const { gaps } = await followed([() => chunkOf(0, "a\n", { poll_after_ms: 700 }), () => chunkOf(2, "b\n")]);
    expect(gaps[0]).toBe(700);
    expect(gaps[1]).toBe(0);
  });

  it("asks seldom, and has no request waiting, where nobody looks", async () => {
    hide(true);
    const { asked, gaps } = await followed([() => chunkOf(0, ""), () => chunkOf(0, "")]);
    expect(asked.map(({ wait }) => wait)).toEqual([0, 0, 0]);
    expect(gaps).toEqual([15_000, 15_000]);
  });

  it("asks at once when somebody looks again", async () => {
    hide(true);
    const { fetch, asked, end } = leader(() => chunkOf(0, ""));
    const done = follow(new LineStore(fetch), fetch, end.signal, () => {});
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(1);
    hide(false);
    document.dispatchEvent(new Event("visibilitychange"));
    await done;
    expect(asked).toHaveLength(2);
  });

  it("goes on at its offset after the network was gone, with growing pauses", async () => {
    const { asked, gaps, offline } = await followed([() => chunkOf(0, "a\n"), away, away, () => chunkOf(2, "b\n")]);
    expect(asked.map(({ offset }) => offset)).toEqual([0, 2, 2, 2, 4]);
    expect(gaps.slice(1, 3)).toEqual([1_000, 2_000]);
    expect(offline).toEqual([true, true, false]);
  });

  it("ends with the error where asking again is of no use", async () => {
    const denied = new ApiError(403, "PERMISSION_DENIED", "no");
    const { fetch, end } = leader(() => {
      throw denied;
    });
    await expect(follow(new LineStore(fetch), fetch, end.signal, () => {})).rejects.toBe(denied);
  });
});
