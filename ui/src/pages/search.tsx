import { Progress, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useSearchParams } from "react-router";
import { getJson, runPath, type Schemas } from "../api/client";
import { type SearchState, useSearch } from "../log/use_search";
import { Empty, Failure } from "../parts/states";
import { SearchForm } from "../search/form";
import { FoundList } from "../search/found_list";
import styles from "../search/search.module.css";
import { nothingWanted, parametersOf, progressText, type Wanted } from "../search/wanted";

/** Which namespace is searched, and those that there are. */
function useNamespace(named: string | null): {
  namespace: string;
  namespaces: readonly string[];
  choose: (namespace: string | null) => void;
} {
  const { data } = useQuery({
    queryKey: ["namespaces"],
    queryFn: ({ signal }) => getJson<Schemas["Namespaces"]>("/namespaces", { limit: 1000 }, signal),
  });
  const [chosen, choose] = useState(named);
  const names = data?.namespaces ?? [];
  const namespace = chosen ?? (names.includes("default") ? "default" : (names[0] ?? "default"));
  return { namespace, namespaces: names.includes(namespace) ? names : [namespace, ...names], choose };
}

function RunsBar({ state }: { state: SearchState }): ReactNode {
  if (!state.running || state.runsTotal === 0) return null;
  const percent = Math.min(100, (100 * state.runs) / state.runsTotal);
  return <Progress className={styles.bar} size="xs" value={percent} aria-label="Runs searched" />;
}

export default function Search(): ReactNode {
  useDocumentTitle("Search · joblog");
  const [query] = useSearchParams();
  const run = query.get("run") ?? "";
  const place = useNamespace(query.get("namespace"));
  const { namespace } = place;
  const [wanted, setWanted] = useState<Wanted>(nothingWanted);
  const path = run ? `${runPath(namespace, run)}/search` : `/namespaces/${encodeURIComponent(namespace)}/search`;
  const { state, start, stop } = useSearch(path);
  const [asked, setAsked] = useState(false);

  const begin = (): void => {
    if (wanted.text === "") return;
    setAsked(true);
    start(parametersOf(wanted, run !== "", Date.now()));
  };

  return (
    <div className={styles.page}>
      <Stack className={styles.head} gap="xs">
        <Title order={1} size="h4" lineClamp={2} className={styles.title} title={run}>
          {run ? `Search in ${run}` : "Search"}
        </Title>
        <SearchForm
          wanted={wanted}
          change={(changes) => setWanted((before) => ({ ...before, ...changes }))}
          place={run ? null : place}
          running={state.running}
          onStart={begin}
          onStop={stop}
        >
          <Text size="xs" c="dimmed" role="status" aria-live="polite">
            {asked ? progressText(state) : "The newest runs are searched first."}
          </Text>
        </SearchForm>
      </Stack>
      <RunsBar state={state} />
      {state.error ? <Failure error={state.error} retry={begin} /> : null}
      {asked && !state.running && state.found.length === 0 && !state.error ? <Nothing stopped={state.stopped} /> : null}
      <FoundList found={state.found} />
    </div>
  );
}

function Nothing({ stopped }: { stopped: string }): ReactNode {
  return stopped === "" ? (
    <Empty title="No log says this">Try more runs, a longer time, or another text.</Empty>
  ) : (
    <Empty title="Nothing found so far">Not all runs were searched.</Empty>
  );
}
