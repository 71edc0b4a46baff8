// What of a log's lines is in memory: windows that were looked at, and the end that is followed. Bounded.

import { type Chunk, getJson, type LogEvent, type LogId, logPath } from "../api/client";
import { cutLines, joinLines, type Line, SHOWN_LINE_BYTES } from "./lines";

const WINDOW_BYTES = 256 * 1024;
/** What is asked for at the end that is followed, and what is shown of it where it is too far away. */
const FOLLOW_BYTES = 128 * 1024;
const SKIP_BYTES = 64 * 1024;
const MAX_BYTES = 24 * 1024 * 1024;
/** What a line takes in memory beside its bytes. */
const LINE_OVERHEAD_BYTES = 150;
const END_LINES = 2_000;
/** Empty lines are many in a window: no more of them are kept. */
const WINDOW_LINES = 10_000;
/** Windows that are read on to the end, before what lies between is left out for now. */
export const END_WINDOWS = 4;
/** Lines that are loaded before those that are looked at. */
const BEFORE_LINES = 20;
/** A page ends early when it has so many frames. */
const MAX_PAGE_FRAMES = 65_536;
/** Lines that are shown lie apart when so many times as many lie between them: windows are small then. */
const APART = 5;
const RETRY_MS = 2_000;

interface Block {
  first: number;
  lines: Line[];
  bytes: number;
  used: number;
}

export interface Place {
  /** The number of the last line that is known of; 0 for an empty log. */
  lines: number;
  nextOffset: number;
  completed: boolean;
  state: string;
  tier: string;
}

export type Fetch = (parameters: Record<string, string | number | boolean>, signal: AbortSignal) => Promise<Chunk>;

export function fetchOf(id: LogId): Fetch {
  return (parameters, signal) =>
    getJson<Chunk>(`${logPath(id)}/bytes`, { format: "json", frames: true, text: false, ...parameters }, signal);
}

/** Lines by number. Listeners are told whenever what get() or `place` give has changed. */
export class LineStore {
  place: Place = { lines: 0, nextOffset: 0, completed: false, state: "live", tier: "buffer" };
  events: LogEvent[] = [];
  /** Why a window could not be had; it is asked for again. */
  error: unknown = null;
  version = 0;
  #blocks: Block[] = [];
  #loading = new Map<number, AbortController>();
  #listeners = new Set<() => void>();
  #clock = 0;
  #fetch: Fetch;
  #pinned: Block | null = null;
  /** Numbers of lines that are in a gap: no window has them. */
  #absent: { first: number; last: number }[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #eventsSeen = "";

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  snapshot = (): number => this.version;

  get bytes(): number {
    return this.#blocks.reduce((sum, block) => sum + block.bytes, 0);
  }

  /** A line that is in memory. */
  get(number: number): Line | undefined {
    const block = this.#blockOf(number);
    if (block === undefined) return undefined;
    block.used = ++this.#clock;
    return block.lines[number - block.first];
  }

  /** Whether the line lies in a gap: it never comes. */
  isAbsent(number: number): boolean {
    return this.#absent.some((range) => range.first <= number && number <= range.last);
  }

  /** Loads what is missing of [first, last]; one window at a time, the first missing line first. */
  want(first: number, last: number): void {
    const lines: number[] = [];
    for (let number = Math.max(1, first); number <= last; number++) lines.push(number);
    this.wantLines(lines);
  }

  /** Loads what is missing of these lines, which are in order; one window at a time. */
  wantLines(numbers: readonly number[]): void {
    if (this.#retry !== undefined) return;
    const known = this.place.lines;
    const missing = numbers.find(
      (number) => number <= known && this.#blockOf(number) === undefined && !this.isAbsent(number),
    );
    if (missing === undefined) return;
    const apart = (numbers.at(-1) ?? 0) - (numbers[0] ?? 0) > APART * numbers.length;
    // What lies before, too: scrolling goes both ways. But not what is there: it may be a line longer than a window.
    let begin = missing;
    const before = apart ? 0 : BEFORE_LINES;
    while (begin > 1 && missing - begin < before && this.#blockOf(begin - 1) === undefined) begin--;
    void this.load(begin, missing, apart ? 2 * SHOWN_LINE_BYTES : WINDOW_BYTES);
  }

  /** Loads a window that begins with this line; wanted: the line that it is loaded for. */
  async load(line: number, wanted = line, limit = WINDOW_BYTES): Promise<void> {
    if (this.#loading.has(line)) return;
    // Whoever scrolls on does not wait for what was scrolled past.
    for (const [other, loading] of this.#loading) if (Math.abs(other - line) > 5_000) loading.abort();
    const abort = new AbortController();
    this.#loading.set(line, abort);
    try {
      const chunk = await this.#fetch({ line, limit }, abort.signal);
      this.error = null;
      this.#put(chunk);
      // Without this, it would be asked for again and again.
      if (chunk.line > wanted) this.#absent.push({ first: wanted, last: chunk.line - 1 });
      else if (chunk.data_base64 === "" && wanted <= this.place.lines && chunk.next_offset >= this.place.nextOffset)
        this.#absent.push({ first: line, last: wanted });
    } catch (error) {
      if (!abort.signal.aborted) {
        this.error = error;
        this.#retry = setTimeout(() => {
          this.#retry = undefined;
          this.#tell();
        }, RETRY_MS);
      }
    } finally {
      this.#loading.delete(line);
      this.#tell();
    }
  }

  /** Loads the end of the log, and what there is to know of it. */
  async loadEnd(signal: AbortSignal, fetch = this.#fetch): Promise<void> {
    let chunk = await fetch({ tail: END_LINES, limit: 2 * WINDOW_BYTES }, signal);
    this.#note(chunk);
    this.#pinned = this.#put(chunk);
    // Long lines: the end is further away than one window. And a window ends where bytes are missing.
    let windows = 0;
    let full = isFull(chunk, 2 * WINDOW_BYTES);
    while (full || chunk.gap_follows) {
      if (windows++ === END_WINDOWS) {
        await this.skipToEnd(signal, fetch);
        break;
      }
      chunk = await fetch({ offset: chunk.next_offset, limit: WINDOW_BYTES }, signal);
      this.append(chunk);
      full = isFull(chunk, WINDOW_BYTES);
    }
    this.#tell();
  }

  /** Goes on at the last bytes; of the line that they begin in, what it begins with is loaded. What lies between is asked
   * for when it is looked at. */
  async skipToEnd(signal: AbortSignal, fetch = this.#fetch): Promise<void> {
    const end = await fetch({ tail_bytes: SKIP_BYTES, limit: SKIP_BYTES }, signal);
    if (end.offset <= this.place.nextOffset) {
      // Nothing lies between.
      this.append(await fetch({ offset: this.place.nextOffset, limit: WINDOW_BYTES }, signal));
      return;
    }
    const lines = cutLines(end);
    const begun = lines.shift();
    this.#note(end);
    const last = this.#pinned?.lines.at(-1);
    // The rest of it is in what is left out: it is asked for again.
    if (last !== undefined && !last.complete && last.number !== begun?.number) this.#pinned?.lines.pop();
    if (begun !== undefined) {
      const known = this.get(begun.number);
      const isWhole = known !== undefined && (known.complete || known.offset + known.length >= begun.offset);
      if (!isWhole) {
        const head = await fetch({ line: begun.number, limit: SHOWN_LINE_BYTES }, signal);
        const [line] = cutLines(head, 1);
        if (known === undefined) this.#put(head);
        else if (line !== undefined) this.#replace(line);
      }
      const line = this.get(begun.number);
      if (line !== undefined && !line.complete) this.#replace(joinLines(line, begun));
    }
    const there = begun === undefined ? undefined : this.#blockOf(begun.number);
    if (lines.length > 0) this.#pinned = this.#add(lines);
    else if (there !== undefined) this.#pinned = there;
    this.#tell();
  }

  /** Takes in what follows the end. */
  append(chunk: Chunk): void {
    this.#note(chunk);
    const lines = cutLines(chunk);
    if (lines.length === 0) {
      this.#tell();
      return;
    }
    const first = lines[0];
    const begun = first === undefined ? undefined : this.#blockOf(first.number);
    const known = begun?.lines[(first?.number ?? 0) - begun.first];
    // The block may be one that was loaded for somebody who looked there before the end was here.
    if (begun !== undefined && known !== undefined && first !== undefined) {
      if (!known.complete && first.offset >= known.offset + known.length) {
        this.#replace(joinLines(known, first));
        begun.bytes += Math.max(0, Math.min(first.bytes.length, SHOWN_LINE_BYTES - known.bytes.length));
        lines.shift();
        if (first.number === begun.first + begun.lines.length - 1) this.#pinned = begun;
      }
    }
    const block = this.#pinned;
    if (block !== null) {
      if (lines.length > 0 && lines.length <= WINDOW_LINES && lines[0]?.number === block.first + block.lines.length) {
        block.lines.push(...lines);
        block.bytes += sizeOf(lines);
        lines.length = 0;
      }
      if (block.bytes > MAX_BYTES / 4) this.#split(block);
    }
    // What is not kept here is asked for when it is looked at.
    if (lines.length > 0) this.#pinned = this.#add(lines.slice(-WINDOW_LINES));
    this.#bound();
    this.#tell();
  }

  /** Whether there is more right behind a chunk of the tail. */
  behind(chunk: Chunk): boolean {
    return isFull(chunk, FOLLOW_BYTES);
  }

  /** Parameters of the next poll at the end. */
  get poll(): Record<string, string | number> {
    return { offset: this.place.nextOffset, limit: FOLLOW_BYTES, events_seen: this.#eventsSeen };
  }

  close(): void {
    for (const loading of this.#loading.values()) loading.abort();
    clearTimeout(this.#retry);
    this.#listeners.clear();
  }

  #note(chunk: Chunk): void {
    this.#eventsSeen = chunk.events_seen;
    if (chunk.events.length > 0) this.events = [...this.events, ...chunk.events];
    this.place = {
      ...this.place,
      nextOffset: Math.max(this.place.nextOffset, chunk.next_offset),
      completed: chunk.state === "completed",
      state: chunk.state,
      tier: chunk.tier,
    };
  }

  #blockOf(number: number): Block | undefined {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const block = this.#blocks[middle] as Block;
      if (number < block.first) high = middle - 1;
      else if (number >= block.first + block.lines.length) low = middle + 1;
      else return block;
    }
    return undefined;
  }

  #put(chunk: Chunk): Block | null {
    const lines = cutLines(chunk, WINDOW_LINES);
    const last = lines.at(-1);
    // A window may end inside of a line: its next one begins with it again. A long line stays, as far as it came.
    if (last !== undefined && !last.complete && lines.length > 1 && chunk.next_offset < this.place.nextOffset)
      lines.pop();
    return lines.length > 0 ? this.#add(lines) : null;
  }

  #replace(line: Line): void {
    const block = this.#blockOf(line.number);
    if (block !== undefined) block.lines[line.number - block.first] = line;
  }

  /** Adds lines as a block; those that are there already stay as they are, unless more of a line is here. */
  #add(lines: Line[]): Block | null {
    const fresh = lines.filter((line) => this.#blockOf(line.number) === undefined);
    const first = fresh[0];
    const end = lines.at(-1)?.number ?? 0;
    if (first === undefined) return this.#blockOf(end) ?? this.#pinned;
    // What is there may lie in the middle of what came.
    const row = fresh.filter((line, index) => line.number === first.number + index);
    const block: Block = { first: first.number, lines: row, bytes: sizeOf(row), used: ++this.#clock };
    this.#blocks.push(block);
    this.#blocks.sort((one, other) => one.first - other.first);
    const last = row.at(-1);
    if (last !== undefined && last.number > this.place.lines) this.place = { ...this.place, lines: last.number };
    this.#bound();
    return this.#blockOf(end) ?? block;
  }

  /** Halves the block at the end, so that its older part can be let go of. */
  #split(block: Block): void {
    const half = block.lines.length >> 1;
    if (half === 0) return;
    const lines = block.lines.splice(0, half);
    const older: Block = { first: block.first, lines, bytes: sizeOf(lines), used: block.used };
    block.first += half;
    block.bytes -= older.bytes;
    this.#blocks.push(older);
    this.#blocks.sort((one, other) => one.first - other.first);
  }

  #bound(): void {
    let bytes = this.bytes;
    while (bytes > MAX_BYTES) {
      const oldest = this.#blocks.filter((block) => block !== this.#pinned).sort((a, b) => a.used - b.used)[0];
      if (oldest === undefined) return;
      this.#blocks.splice(this.#blocks.indexOf(oldest), 1);
      bytes -= oldest.bytes;
    }
  }

  #tell(): void {
    const last = this.#pinned?.lines.at(-1);
    if (last !== undefined && last.number > this.place.lines) this.place = { ...this.place, lines: last.number };
    this.version++;
    for (const listener of this.#listeners) listener();
  }
}

function sizeOf(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.bytes.length + LINE_OVERHEAD_BYTES, 0);
}

/** Whether a page ended because it had its bytes: then there is more. */
function isFull(chunk: Chunk, limit: number): boolean {
  return chunk.next_offset - chunk.offset >= limit || (chunk.frames?.starts.length ?? 0) >= MAX_PAGE_FRAMES;
}
