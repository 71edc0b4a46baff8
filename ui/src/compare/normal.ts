// A line as it is compared: without what differs between any two runs.

import { visible } from "../log/text";

const STYLES = /\x1b\[[0-9;:]*m/g;

const NOISE: readonly [RegExp, string][] = [
  // 2026-11-21T11:02:04.123Z, 2026/11/21 11:02:04,123 +0100, Nov 21 11:02:04, 21/Nov/2026:11:02:04
  [
    /\b\d{4}[-/]\d{2}[-/]\d{2}(?:[T _]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)?(?:\s?(?:Z|UTC|[+-]\d{2}:?\d{2}))?(?!\w|[:.,]\d)/g,
    "⟨time⟩",
  ],
  [
    /\b(?:\d{1,2}[/ ])?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[/ ]\s?\d{1,4}(?:,? \d{4})?[: ]\d{2}:\d{2}:\d{2}\b/g,
    "⟨time⟩",
  ],
  [/\b\d{2}:\d{2}:\d{2}(?:[.,]\d+)?\b/g, "⟨time⟩"],
  // Seconds or milliseconds since 1970, from 2001 to 2033, as a number of its own.
  [/(?<![\w.])1\d{9}(?:\d{3})?(?:\.\d+)?(?![\w.])/g, "⟨time⟩"],
  [/\b0x[0-9a-fA-F]+\b/g, "⟨address⟩"],
  [
    /(?<![\w.])(?:\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)\b\s?)+/g,
    "⟨duration⟩ ",
  ],
  [
    /(?<![\w.-])(?:\/private)?(?:\/var)?\/tmp\/[^\s:;,'"()[\]]+|(?<![\w.-])(?:\/private)?\/var\/folders\/[^\s:;,'"()[\]]+/g,
    "⟨temp⟩",
  ],
];

/** Carriage returns: what a terminal would show last; styles and what steers it: gone. */
export function shownLine(line: string): string {
  const states = line.replace(/\r+$/, "").split(/\r+/);
  return visible(states.at(-1) ?? "").replace(STYLES, "");
}

export function normal(shown: string): string {
  let text = shown;
  for (const [pattern, word] of NOISE) text = text.replace(pattern, word);
  return text.trimEnd();
}
