// When runs began: within some time up to now, or between two moments.

import { Select, TextInput } from "@mantine/core";
import type { ReactNode } from "react";
import { currentZone, momentIn } from "./zone";

export interface Period {
  /** "": any time; BETWEEN: from, until; else a key of spans. */
  name: string;
  /** Times in the zone that was chosen, as the browser's field has them, 2026-01-31T12:00; "": open. */
  from: string;
  until: string;
}

export const anyTime: Period = { name: "", from: "", until: "" };

const BETWEEN = "between";
const spans: Record<string, number> = { hour: 3_600_000, day: 86_400_000, week: 604_800_000, month: 2_592_000_000 };
const choices = [
  { value: "", label: "Any time" },
  { value: "hour", label: "Last hour" },
  { value: "day", label: "Last day" },
  { value: "week", label: "Last week" },
  { value: "month", label: "Last 30 days" },
  { value: BETWEEN, label: "Between…" },
];

function momentOf(clock: string): string {
  const when = momentIn(currentZone(), clock);
  return Number.isNaN(when) ? "" : new Date(when).toISOString();
}

/** As the API takes them; "" where it is open. now: milliseconds since 1970. */
export function rangeOf({ name, from, until }: Period, now: number): { createdFrom: string; createdBefore: string } {
  if (name === BETWEEN) return { createdFrom: momentOf(from), createdBefore: momentOf(until) };
  const span = spans[name];
  // To the minute, so that a list stays the same one.
  const begin = span === undefined ? "" : new Date(Math.floor((now - span) / 60_000) * 60_000).toISOString();
  return { createdFrom: begin, createdBefore: "" };
}

export function PeriodSelect({
  period,
  onChange,
  label,
}: {
  period: Period;
  onChange: (period: Period) => void;
  /** Shown above it; without it the field is small, and has its name for readers of screens alone. */
  label?: string;
}): ReactNode {
  const size = label === undefined ? "xs" : "sm";
  const named = (name: string): object =>
    label === undefined ? { "aria-label": name } : { label: name.toLowerCase() };
  const moment = (name: "from" | "until", text: string): ReactNode => (
    <TextInput
      size={size}
      type="datetime-local"
      {...named(text)}
      value={period[name]}
      onChange={(event) => onChange({ ...period, [name]: event.currentTarget.value })}
    />
  );
  return (
    <>
      <Select
        size={size}
        {...(label === undefined ? { "aria-label": "Filter by time" } : { label })}
        data={choices}
        value={period.name}
        allowDeselect={false}
        onChange={(name) => onChange({ ...period, name: name ?? "" })}
        w={140}
      />
      {period.name === BETWEEN ? (
        <>
          {moment("from", "From")}
          {moment("until", "Until")}
        </>
      ) : null}
    </>
  );
}
