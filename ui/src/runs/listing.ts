// What is listed of the runs that pages and news tell of.

import type { InfiniteData } from "@tanstack/react-query";
import type { Run, Runs } from "../api/client";
import { arranged, leavesRoom, type RunState, type Seen } from "./order";

export type Part = "live" | "ended";

/** Which page: of which part of the list, from where on. */
export interface Place {
  part: Part;
  cursor: string;
}

/** How things stand now, as far as it was asked. */
export interface News {
  /** The newest of each part; null: the part is not wanted. */
  parts: Record<Part, Runs | null>;
  /** Runs that were asked for one by one, and those of them that are gone. */
  asked: readonly Run[];
  gone: readonly string[];
}

export class Listing {
  /** What news told of, by name; null: it is gone. */
  readonly #changed = new Map<string, Run | null>();
  readonly #isWanted: (state: RunState) => boolean;
  #news: News | undefined;
  #seen: Seen = { names: [], fresh: 0 };
  /** Runs may have come that neither pages nor news tell of. */
  missed = false;

  /** news: those that are older than the pages. */
  constructor(isWanted: (state: RunState) => boolean, news: News | undefined) {
    this.#isWanted = isWanted;
    this.#news = news;
    this.#take(news);
  }

  /** Runs that came after the list was made, and that are left out for now. */
  get fresh(): number {
    return this.#seen.fresh;
  }

  /** The runs in their order. top: nothing can jump. */
  update(pages: InfiniteData<Runs>, news: News | undefined, top: boolean): readonly Run[] {
    const byName = new Map(pages.pages.flatMap((page) => page.runs).map((run) => [run.run, run]));
    const names = new Set(byName.keys());
    if (news !== undefined && this.#news !== news) {
      this.#news = news;
      const isKnown = (name: string): boolean => names.has(name) || this.#changed.has(name);
      // Of a part that no page is of yet nothing can be missing.
      if ((pages.pageParams as Place[]).some(({ part }) => leavesRoom(news.parts[part], isKnown))) this.missed = true;
      this.#take(news);
    }
    for (const [name, run] of this.#changed) {
      // One that came into another state leaves a list of certain states once nothing can jump.
      if (run === null || (top && !this.#isWanted(run.state as RunState))) byName.delete(name);
      else byName.set(name, run);
    }
    this.#seen = arranged(byName, names, this.#seen.names, top);
    return this.#seen.names.map((name) => byName.get(name)).filter((run) => run !== undefined);
  }

  #take(news: News | undefined): void {
    if (news === undefined) return;
    const { live, ended } = news.parts;
    for (const run of [...(live?.runs ?? []), ...(ended?.runs ?? []), ...news.asked]) this.#changed.set(run.run, run);
    for (const name of news.gone) this.#changed.set(name, null);
  }
}
