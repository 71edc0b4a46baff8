import { Button, Group, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import type { Run } from "../api/client";
import { Empty, Failure, Loading } from "../parts/states";
import { FilterFields, useFilters } from "../runs/filters";
import styles from "../runs/runs.module.css";
import { RunTable } from "../runs/table";
import { useRuns } from "../runs/use_runs";

function NoRuns({ filtered }: { filtered: boolean }): ReactNode {
  return filtered ? (
    <Empty title="No run is like this">Take a filter away to see more.</Empty>
  ) : (
    <Empty title="No runs yet">
      Run a command with joblog, and it appears here: <br />
      <code>joblog run --run demo --task hello -- echo hello</code>
    </Empty>
  );
}

export default function Runs(): ReactNode {
  useDocumentTitle("Runs · joblog");
  const filters = useFilters();
  const [top, setTop] = useState(true);
  const scroller = useRef<HTMLDivElement>(null);
  const inSight = useRef<readonly Run[]>([]);
  const list = useRuns(filters.wanted, top, () => inSight.current);
  const { change } = filters;
  const onlyLabel = useCallback((label: string) => change({ label }), [change]);
  const { runs, loadMore } = list;
  const empty = runs.length === 0;
  if (empty) inSight.current = [];
  // A page may be empty and not the last one: then there is no table that asks for more.
  useEffect(() => {
    if (empty) loadMore();
  }, [empty, loadMore]);
  return (
    <div className={styles.page}>
      <Group className={styles.head} gap="sm" wrap="wrap">
        <Title order={1} size="h4">
          Runs
        </Title>
        <FilterFields filters={filters} />
        {list.fresh > 0 ? (
          <Button size="compact-sm" onClick={() => scroller.current?.scrollTo({ top: 0 })}>
            {list.fresh} new {list.fresh === 1 ? "run" : "runs"}
          </Button>
        ) : null}
      </Group>
      {list.error ? <Failure error={list.error} retry={list.retry} since={list.toldAt} /> : null}
      {list.loading ? <Loading label="Loading the runs" /> : null}
      {empty && !list.loading && !list.error ? (
        list.more ? (
          <Loading label="Looking through older runs" />
        ) : (
          <NoRuns filtered={filters.filtered} />
        )
      ) : null}
      {empty ? null : (
        <RunTable list={list} scroller={scroller} inSight={inSight} onScrolled={setTop} onLabel={onlyLabel} />
      )}
    </div>
  );
}
