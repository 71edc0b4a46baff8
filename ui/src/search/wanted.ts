// What a search over runs is asked for, and how far it is, in words.

import type { Parameters } from "../api/client";
import type { SearchState } from "../log/use_search";
import { bytesText, countText } from "../parts/format";
import { anyTime, type Period, rangeOf } from "../parts/period";

/** As many as the leader takes. */
export const MAX_RUNS = 100_000;
export const MAX_HITS = 10_000;
const MAX_SECONDS = 600;

/** What the fields of the form hold; numbers are text as long as nothing or half a number is typed. */
export interface Wanted {
  text: string;
  regex: boolean;
  matchCase: boolean;
  stream: string;
  around: number | string;
  each: number | string;
  /** Of which runs, where it is not of one that is named. */
  period: Period;
  last: number | string;
  runText: string;
  states: readonly string[];
}

export const nothingWanted: Wanted = {
  text: "",
  regex: false,
  matchCase: false,
  stream: "",
  around: 0,
  each: 5,
  period: { ...anyTime, name: "week" },
  last: "",
  runText: "",
  states: [],
};

/** As the API takes it. inOneRun: there is nothing to choose among runs. */
export function parametersOf(wanted: Wanted, inOneRun: boolean, now: number): Parameters {
  const asked = {
    q: wanted.text,
    regex: wanted.regex,
    ignore_case: !wanted.matchCase,
    stream: wanted.stream,
    context_lines: Number(wanted.around) || 0,
    max_hits: MAX_HITS,
    max_hits_per_log: Number(wanted.each) || 0,
    max_seconds: MAX_SECONDS,
  };
  if (inOneRun) return asked;
  const range = rangeOf(wanted.period, now);
  return {
    ...asked,
    created_from: range.createdFrom,
    created_before: range.createdBefore,
    max_runs: Number(wanted.last) || 0,
    text: wanted.runText,
    state: wanted.states,
  };
}

const ends: Record<string, string> = { hits: "; there are more", time: "; the time was up", you: "; stopped" };

const counted = (count: number, noun: string): string => `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;

export function progressText(state: SearchState): string {
  const runs =
    state.runs < state.runsTotal
      ? `${countText(state.runs)} of ${counted(state.runsTotal, "run")}`
      : counted(state.runs, "run");
  const where = `${runs}, ${counted(state.logs, "log")}, ${bytesText(state.bytes)} searched`;
  const begin = state.running ? "Searching: " : "";
  return `${begin}${counted(state.found.length, "line")} found; ${where}${ends[state.stopped] ?? ""}`;
}
