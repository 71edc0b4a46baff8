import { describe, expect, it } from "vitest";
import type { Chunk } from "../api/client";
import { type Fetch, LineStore } from "./store";

/** A leader with one log, as far as the store can tell. */
class Leader {
  data = "";
  asked: Record<string, string | number | boolean>[] = [];
  completed = false;

  fetch: Fetch = async (parameters) => {
    this.asked.push(parameters);
    let offset = Number(parameters.offset ?? 0);
    if (parameters.line !== undefined) offset = this.offsetOf(Number(parameters.line));
    if (parameters.tail !== undefined) {
      const lines = this.data.split("\n").length - (this.data.endsWith("\n") || this.data === "" ? 1 : 0);
      offset = this.offsetOf(Math.max(1, lines - Number(parameters.tail) + 1));
    }
    return this.chunk(offset, Math.min(this.data.length, offset + Number(parameters.limit)));
  };

  offsetOf(line: number): number {
    let offset = 0;
    for (let number = 1; number < line; number++) offset = this.data.indexOf("\n", offset) + 1;
    return offset;
  }

  chunk(offset: number, end: number): Chunk {
    const text = this.data.slice(offset, end);
    return {
      offset,
      next_offset: end,
      first_offset: 0,
      line: this.data.slice(0, offset).split("\n").length,
      state: this.completed ? "completed" : "live",
      tier: "buffer",
      gaps: [],
      events: [],
      events_seen: "",
      data_base64: btoa(text),
      text,
      frames: { streams: [1], starts: [0], lengths: [text.length], times_us: [1] },
    };
  }
}

const signal = new AbortController().signal;
const text = (store: LineStore, number: number) => new TextDecoder().decode(store.get(number)?.bytes);

describe("LineStore", () => {
  it("opens at the end and follows", async () => {
    const leader = new Leader();
    leader.data = Array.from({ length: 5000 }, (_, index) => `line ${index + 1}\n`).join("");
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    expect(store.place.lines).toBe(5000);
    expect(text(store, 5000)).toBe("line 5000");
    expect(store.get(1)).toBeUndefined();
    for (const more of ["half", " a line\nand", " more\n", "last\n"]) {
      const from = leader.data.length;
      leader.data += more;
      expect(store.poll.offset).toBe(from);
      store.append(leader.chunk(from, leader.data.length));
    }
    expect(store.place.lines).toBe(5003);
    expect([5001, 5002, 5003].map((number) => text(store, number))).toEqual(["half a line", "and more", "last"]);
  });

  it("loads what is looked at, from the first line that is missing", async () => {
    const leader = new Leader();
    leader.data = Array.from({ length: 100_000 }, (_, index) => `${index + 1} ${"x".repeat(30)}\n`).join("");
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    leader.asked = [];
    store.want(50_000, 50_040);
    await expect.poll(() => store.get(50_040)).toBeDefined();
    expect(leader.asked).toHaveLength(1);
    expect(text(store, 50_000)).toContain("50000 ");
    store.want(50_000, 50_040);
    expect(leader.asked).toHaveLength(1);
    const last = store.place.lines;
    expect(text(store, last)).toContain("100000 ");
  });

  it("keeps a bounded number of bytes, and the end", async () => {
    const leader = new Leader();
    // 30 MB in few windows: lines of 8 KB.
    leader.data = Array.from({ length: 4_000 }, (_, index) => `${index + 1} ${"x".repeat(8_000)}\n`).join("");
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    for (let line = 1; line < 4_000; line += 30) await store.load(line);
    expect(store.bytes).toBeLessThan(26 * 1024 * 1024);
    expect(text(store, 4_000)).toContain("4000 ");
    expect(store.get(1)).toBeUndefined();
  });

  it("shows a line of any length in part", async () => {
    const leader = new Leader();
    leader.data = `first\n${"y".repeat(3_000_000)}\nlast\n`;
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    await store.load(2);
    expect(store.get(2)?.bytes.length).toBeLessThanOrEqual(16_384);
    expect(store.place.lines).toBe(3);
    expect(text(store, 3)).toBe("last");
  });

  it("is told of a log that is empty, and of its first bytes", async () => {
    const leader = new Leader();
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    expect(store.place.lines).toBe(0);
    leader.data = "one\n";
    store.append(leader.chunk(0, 4));
    expect(text(store, 1)).toBe("one");
    leader.completed = true;
    store.append(leader.chunk(4, 4));
    expect(store.place.completed).toBe(true);
  });
});
