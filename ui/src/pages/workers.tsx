import { Text, TextInput } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useCallback, useMemo, useRef, useState } from "react";
import { getJson, type Schemas } from "../api/client";
import { every, useFailure } from "../api/queries";
import { bytesText, countText } from "../parts/format";
import { PageHead } from "../parts/page";
import { Rates } from "../parts/since";
import { Empty, Failure, Loading } from "../parts/states";
import { byAttention, concernsOf, type KnownWorker } from "../workers/concerns";
import { WorkerTable } from "../workers/table";
import styles from "../workers/workers.module.css";

const REFRESH_MS = 5_000;

interface SummaryProps {
  workers: readonly KnownWorker[];
  now: number;
  rateOf: (workerId: string) => number | null;
}

function Summary({ workers, now, rateOf }: SummaryProps): ReactNode {
  const connected = workers.filter((worker) => worker.connected).length;
  const attention = workers.filter((worker) => concernsOf(worker, now).length > 0).length;
  const known = workers.map((worker) => rateOf(worker.worker_id)).filter((rate) => rate !== null);
  const rate = known.reduce((sum, one) => sum + one, 0);
  return (
    <Text size="sm" c="dimmed" role="status">
      {countText(connected)} connected, {countText(workers.length - connected)} gone
      {attention > 0 ? `, ${countText(attention)} in need of attention` : ""}
      {known.length > 0 ? ` · ${bytesText(Math.round(rate))}/s` : ""}
    </Text>
  );
}

function NoWorkers({ some }: { some: boolean }): ReactNode {
  return some ? (
    <Empty title="No worker is like this">Shorten the filter to see more.</Empty>
  ) : (
    <Empty title="No worker was heard of since the leader started">
      Start one on a machine that runs tasks: <br />
      <code>joblog worker --join-file token.txt</code>
    </Empty>
  );
}

export default function Workers(): ReactNode {
  useDocumentTitle("Workers · joblog");
  const rates = useRef(new Rates()).current;
  const asked = useQuery({
    queryKey: ["workers"],
    queryFn: async ({ signal }) => {
      const found = await getJson<Schemas["Workers"]>("/workers", {}, signal);
      for (const worker of found.workers)
        rates.note(worker.worker_id, Date.parse(found.time ?? ""), worker.received_bytes);
      return found;
    },
    refetchInterval: every(REFRESH_MS),
  });
  const { data, refetch, dataUpdatedAt } = asked;
  const failure = useFailure(asked);
  const [text, setText] = useState("");
  const now = data?.time ? Date.parse(data.time) : Date.now();
  const workers = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const found = (data?.workers ?? []).filter((worker) =>
      [worker.worker_id, worker.host, worker.version].some((one) => one.toLowerCase().includes(wanted)),
    );
    return byAttention(found, data?.time ? Date.parse(data.time) : Date.now());
  }, [data, text]);
  const rateOf = useCallback((workerId: string) => rates.of(workerId), [rates]);
  const all = data?.workers ?? [];
  return (
    <div className={styles.page}>
      <PageHead title="Workers">
        <TextInput
          size="xs"
          type="search"
          aria-label="Filter by name, host or version"
          placeholder="Name, host or version"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        {data ? <Summary workers={data.workers} now={now} rateOf={rateOf} /> : null}
      </PageHead>
      {failure ? <Failure error={failure} retry={() => void refetch()} since={dataUpdatedAt} /> : null}
      {asked.isPending && !failure ? (
        <Loading label="Loading the workers" />
      ) : data === undefined ? null : workers.length === 0 ? (
        <NoWorkers some={all.length > 0} />
      ) : (
        <WorkerTable workers={workers} now={now} rateOf={rateOf} />
      )}
    </div>
  );
}
