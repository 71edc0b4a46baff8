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
    if (parameters.tail_bytes !== undefined) offset = Math.max(0, this.data.length - Number(parameters.tail_bytes));
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
      gap_follows: false,
      events: [],
      events_seen: "",
      poll_after_ms: 0,
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

  it("gets past lines that are longer than a window, and asks for each place once", async () => {
    const leader = new Leader();
    leader.data = `first\n${"x".repeat(900_000)}\n${"y".repeat(3_000_000)}\nlast\n`;
    leader.completed = true;
    const store = new LineStore(leader.fetch);
    await store.loadEnd(new AbortController().signal);
    expect(store.place.lines).toBe(4);
    expect(text(store, 4)).toBe("last");
    leader.asked = [];
    for (let round = 0; round < 20; round++) {
      store.want(1, 4);
      await new Promise((resolve) => setTimeout(resolve));
    }
    expect(leader.asked.length).toBeLessThanOrEqual(3);
    expect([1, 2, 3, 4].map((line) => text(store, line)?.[0])).toEqual(["f", "x", "y", "l"]);
    expect(store.get(3)?.length).toBe(3_000_000);
  });

  it("goes on with a last line that is longer than anything is read on", async () => {
    const leader = new Leader();
    leader.data = `first\n${"x".repeat(5_000_000)}`;
    const store = new LineStore(leader.fetch);
    await store.loadEnd(new AbortController().signal);
    expect([store.place.lines, store.place.nextOffset]).toEqual([2, leader.data.length]);
    leader.data += "end\nnext\n";
    store.append(await leader.fetch(store.poll, new AbortController().signal));
    expect(text(store, 3)).toBe("next");
    expect(store.get(2)).toMatchObject({ length: 5_000_003, complete: true });
  });

  it("leaves out what passes too fast, and has it when it is looked at", async () => {
    const leader = new Leader();
    leader.data = "begin\nhalf";
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    leader.data += Array.from({ length: 50_000 }, (_, index) => ` a line\n${index + 3} ${"z".repeat(20)}`).join("");
    // Little more than is known already: nothing is left out.
    await store.skipToEnd(signal);
    expect(store.place.nextOffset).toBe(leader.data.length);
    const { lines } = store.place;
    expect(text(store, lines)).toBe(`50002 ${"z".repeat(20)}`);
    expect(store.get(20_000)).toBeUndefined();
    leader.data += " end\nlast\n";
    store.append(await leader.fetch(store.poll, signal));
    expect(text(store, lines)).toBe(`50002 ${"z".repeat(20)} end`);
    store.want(2, 20);
    store.want(20_000, 20_010);
    await expect.poll(() => store.get(20_010)).toBeDefined();
    expect(text(store, 20_001)).toContain("20001 zzz");
    expect(text(store, 2)).toBe("half a line");
  });

  it("leaves nothing out of what it can reach", async () => {
    const leader = new Leader();
    leader.data = "begin\n";
    const store = new LineStore(leader.fetch);
    await store.loadEnd(signal);
    leader.data += "one\ntwo\n";
    await store.skipToEnd(signal);
    expect([1, 2, 3].map((line) => text(store, line))).toEqual(["begin", "one", "two"]);
  });

  it("goes on to the end where bytes are missing before it", async () => {
    const leader = new Leader();
    leader.data = "one\ntwo\nthree\n";
    // A gap behind each line: a window ends there.
    const store = new LineStore(async (parameters, signal) => {
      const chunk = await leader.fetch(parameters, signal);
      const end = leader.data.indexOf("\n", chunk.offset) + 1 || leader.data.length;
      return { ...leader.chunk(chunk.offset, end), gap_follows: end < leader.data.length };
    });
    await store.loadEnd(new AbortController().signal);
    expect(store.place).toMatchObject({ lines: 3, nextOffset: leader.data.length });
    expect(text(store, 3)).toBe("three");
  });

  it("joins a line with bytes missing inside, wherever its begin was loaded for", async () => {
    const leader = new Leader();
    leader.data = "one\ntwo\nhalf of a line\nlast\n";
    leader.completed = true;
    const gaps = [4, 15];
    const fetch: Fetch = async (parameters, signal) => {
      const { offset } = await leader.fetch(parameters, signal);
      const end = gaps.find((gap) => gap > offset) ?? leader.data.length;
      return { ...leader.chunk(offset, end), gap_follows: end < leader.data.length };
    };
    const store = new LineStore(fetch);
    // Somebody has opened a link to line 2.
    await store.load(2);
    expect(text(store, 3)).toBe("half of");
    await store.loadEnd(new AbortController().signal);
    expect([1, 2, 3, 4].map((line) => text(store, line))).toEqual(["one", "two", "half of a line", "last"]);
    expect(store.get(3)?.complete).toBe(true);
    expect(store.place.lines).toBe(4);
  });

  it("asks once for lines that no window has", async () => {
    const leader = new Leader();
    leader.data = "a\nb\n";
    const store = new LineStore(async (parameters, signal) => {
      const chunk = await leader.fetch(parameters, signal);
      // Lines 1 to 10 are in a gap.
      return { ...chunk, line: chunk.line + 10 };
    });
    await store.loadEnd(new AbortController().signal);
    expect(store.place.lines).toBe(12);
    leader.asked = [];
    for (let round = 0; round < 20; round++) {
      store.want(1, 12);
      await new Promise((resolve) => setTimeout(resolve));
    }
    expect(leader.asked.length).toBe(1);
    expect([store.isAbsent(3), store.isAbsent(11)]).toEqual([true, false]);
  });

  it("waits before it asks again where it was refused", async () => {
    const leader = new Leader();
    leader.data = "a\n".repeat(5000);
    const store = new LineStore(leader.fetch);
    await store.loadEnd(new AbortController().signal);
    let asked = 0;
    const failing = new LineStore(async () => {
      asked++;
      throw new Error("no");
    });
    failing.place = store.place;
    for (let round = 0; round < 20; round++) {
      failing.want(1, 10);
      await new Promise((resolve) => setTimeout(resolve));
    }
    expect(asked).toBe(1);
    failing.close();
  });
});
