// Which runs are listed: chosen above the list, and kept in the address.

import { Button, MultiSelect, Select, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useCallback, useEffect, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { getJson, type Schemas } from "../api/client";
import { every } from "../api/queries";
import { type Period, PeriodSelect, rangeOf } from "../parts/period";
import { useZone } from "../parts/zone";
import { runStates } from "./order";
import type { RunsWanted } from "./use_runs";

const TYPED_MS = 250;

type Change = (changes: Record<string, string | readonly string[]>) => void;

export interface Filters {
  namespaces: readonly string[];
  wanted: RunsWanted;
  /** What is typed; wanted.text follows once it rests. */
  text: string;
  setText: (text: string) => void;
  period: Period;
  /** Whether some runs of the namespace may be left out. */
  filtered: boolean;
  change: Change;
}

function useChange(): Change {
  const [, setQuery] = useSearchParams();
  return useCallback(
    (changes) =>
      setQuery(
        () => {
          // Of the address as it is: a change just before this one may not have been drawn yet.
          const next = new URLSearchParams(window.location.search);
          for (const [name, value] of Object.entries(changes)) {
            next.delete(name);
            for (const one of [value].flat()) if (one !== "") next.append(name, one);
          }
          return next;
        },
        { replace: true },
      ),
    [setQuery],
  );
}

export function useFilters(): Filters {
  const [query] = useSearchParams();
  const change = useChange();
  const { data } = useQuery({
    queryKey: ["namespaces"],
    queryFn: ({ signal }) => getJson<Schemas["Namespaces"]>("/namespaces", { limit: 1000 }, signal),
    refetchInterval: every(30_000),
  });
  const namespaces = data?.namespaces ?? [];
  // Before the first run of all there may be the leader's own logs alone, which nobody came for.
  const tasks = namespaces.filter((name) => !name.startsWith("@"));
  const namespace = query.get("namespace") ?? (tasks.includes("default") ? "default" : (tasks[0] ?? "default"));
  const [text, setText] = useState(query.get("text") ?? "");
  const [settled] = useDebouncedValue(text, TYPED_MS);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed goes into the address once it has settled
  useEffect(() => {
    if ((query.get("text") ?? "") !== settled) change({ text: settled });
  }, [settled]);
  const period = useMemo<Period>(
    () => ({ name: query.get("period") ?? "", from: query.get("from") ?? "", until: query.get("until") ?? "" }),
    [query],
  );
  const zone = useZone();
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is of the zone
  const range = useMemo(() => rangeOf(period, Date.now()), [period, zone]);
  const states = useMemo(() => query.getAll("state"), [query]);
  const label = query.get("label") ?? "";
  const filtered = settled !== "" || states.length > 0 || label !== "" || period.name !== "";
  const wanted = { namespace, text: settled, states, label, ...range };
  return { namespaces, wanted, text, setText, period, filtered, change };
}

export function FilterFields({ filters }: { filters: Filters }): ReactNode {
  const { namespaces, wanted, text, setText, period, change } = filters;
  return (
    <>
      {namespaces.length > 0 ? (
        <Select
          size="xs"
          aria-label="Namespace"
          searchable
          allowDeselect={false}
          data={[...namespaces]}
          value={wanted.namespace}
          onChange={(value) => change({ namespace: value ?? "" })}
        />
      ) : null}
      <TextInput
        size="xs"
        type="search"
        aria-label="Filter by name or label"
        placeholder="Name or label"
        leftSection={<IconSearch size={14} aria-hidden />}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <MultiSelect
        size="xs"
        aria-label="Filter by state"
        placeholder={wanted.states.length === 0 ? "Any state" : ""}
        data={[...runStates]}
        value={[...wanted.states]}
        onChange={(state) => change({ state })}
        w={190}
      />
      <PeriodSelect period={period} onChange={({ name, from, until }) => change({ period: name, from, until })} />
      {wanted.label !== "" ? (
        <Button
          size="compact-xs"
          variant="light"
          maw={320}
          title={wanted.label}
          onClick={() => change({ label: "" })}
          aria-label={`Remove the filter ${wanted.label}`}
        >
          {wanted.label} ×
        </Button>
      ) : null}
    </>
  );
}
