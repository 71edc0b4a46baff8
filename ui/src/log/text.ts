// A line's bytes as something to show: ANSI styles kept, everything else that steers a terminal taken out or made
// visible. Whatever comes out is set as text, never as HTML.

import Anser from "anser";

export interface Span {
  text: string;
  /** Names of classes in viewer.module.css: colours and decorations. */
  classes: readonly string[];
  /** 24-bit or 256 colours, as "r, g, b". */
  color?: string;
  background?: string;
  href?: string;
}

const decoder = new TextDecoder("utf-8", { fatal: false });

/** SGR, which colours, is the only control sequence that is kept. */
const OTHER_SEQUENCES =
  // CSI, OSC and the like up to their end, other escapes of two or three characters.
  /\x1b\[(?![0-9;:]*m)[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b(?!\[)[ -/]*[0-~]?|[\x80-\x9f]/g;
const CONTROLS = /[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;
/** They reorder what stands around them: made visible instead. */
const BIDI = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g;
const URLS = /\bhttps?:\/\/[^\s<>"'`\x00-\x1f\x7f]+/g;
const URL_TAIL = /[.,;:!?)\]}]+$/;

export function decode(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** What a terminal would show last of a line that was written over with carriage returns, and all of its states. */
export function states(text: string): string[] {
  const parts = text.replace(/\r+$/, "").split(/\r+/);
  return parts.length > 1 ? parts.filter((part, index) => part !== "" || index === parts.length - 1) : parts;
}

export function visible(text: string): string {
  return text
    .replace(OTHER_SEQUENCES, "")
    .replace(CONTROLS, (control) => String.fromCharCode(control === "\x7f" ? 0x2421 : 0x2400 + control.charCodeAt(0)))
    .replace(BIDI, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** Without any style: to copy, to compare. */
export function plain(bytes: Uint8Array): string {
  return visible(states(decode(bytes)).at(-1) ?? "").replace(/\x1b\[[0-9;:]*m/g, "");
}

function linked(span: Span): Span[] {
  const spans: Span[] = [];
  let at = 0;
  for (const match of span.text.matchAll(URLS)) {
    const url = match[0].replace(URL_TAIL, "");
    if (match.index > at) spans.push({ ...span, text: span.text.slice(at, match.index) });
    spans.push({ ...span, text: url, href: url });
    at = match.index + url.length;
  }
  if (at < span.text.length) spans.push(at === 0 ? span : { ...span, text: span.text.slice(at) });
  return spans;
}

/** A text of one state as spans. */
export function spansOf(text: string): Span[] {
  const shown = visible(text);
  if (shown === "") return [];
  if (!shown.includes("\x1b")) return linked({ text: shown, classes: [] });
  const found = Anser.ansiToJson(shown, { json: true, remove_empty: true, use_classes: true });
  return found.flatMap((entry) => {
    const classes: string[] = [...entry.decorations];
    const span: Span = { text: entry.content.replaceAll("\x1b", "␛"), classes };
    if (entry.fg === "ansi-truecolor") span.color = entry.fg_truecolor;
    else if (entry.fg) classes.push(entry.fg);
    if (entry.bg === "ansi-truecolor") span.background = entry.bg_truecolor;
    else if (entry.bg) classes.push(`${entry.bg}-bg`);
    return linked(span);
  });
}
