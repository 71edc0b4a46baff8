import { Text, TextInput } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { getJson, type Schemas } from "../api/client";
import { every, useFailure } from "../api/queries";
import { bytesText, countText } from "../parts/format";
import { useKeptFocus } from "../parts/kept_focus";
import { PageHead } from "../parts/page";
import { Rates } from "../parts/since";
import { Empty, Failure, Loading } from "../parts/states";
import { byAttention, concernsOf } from "../workers/concerns";
import { columns, WorkerRow } from "../workers/row";
import styles from "../workers/workers.module.css";

const REFRESH_MS = 5_000;

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
  const scroller = useRef<HTMLDivElement>(null);
  const onFocus = useKeptFocus(scroller, workers);
  const rows = useVirtualizer({
    count: workers.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 56,
    overscan: 10,
    getItemKey: (index) => workers[index]?.worker_id ?? index,
  });

  const all = data?.workers ?? [];
  const connected = all.filter((worker) => worker.connected).length;
  const attention = all.filter((worker) => concernsOf(worker, now).length > 0).length;
  const known = all.map((worker) => rates.of(worker.worker_id)).filter((one) => one !== null);
  const rate = known.length > 0 ? known.reduce((sum, one) => sum + one, 0) : null;
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
        {data ? (
          <Text size="sm" c="dimmed" role="status">
            {countText(connected)} connected, {countText(all.length - connected)} gone
            {attention > 0 ? `, ${countText(attention)} in need of attention` : ""}
            {rate === null ? "" : ` · ${bytesText(Math.round(rate))}/s`}
          </Text>
        ) : null}
      </PageHead>
      {failure ? <Failure error={failure} retry={() => void refetch()} since={dataUpdatedAt} /> : null}
      {asked.isPending && !failure ? (
        <Loading label="Loading the workers" />
      ) : data === undefined ? null : workers.length === 0 ? (
        <Empty title={all.length > 0 ? "No worker is like this" : "No worker was heard of since the leader started"}>
          {all.length > 0 ? (
            "Shorten the filter to see more."
          ) : (
            <>
              Start one on a machine that runs tasks: <br />
              <code>joblog worker --join-file token.txt</code>
            </>
          )}
        </Empty>
      ) : (
        <div
          ref={scroller}
          className={styles.scroller}
          tabIndex={0}
          role="region"
          aria-label="Workers"
          onFocus={onFocus}
        >
          <div role="table" aria-label="Workers" aria-rowcount={workers.length + 1}>
            <div role="row" className={`${styles.row} ${styles.header}`}>
              {columns.map((column) => (
                <span role="columnheader" key={column}>
                  {column}
                </span>
              ))}
            </div>
            <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
              {rows.getVirtualItems().map((item) => {
                const worker = workers[item.index];
                return worker === undefined ? null : (
                  <div
                    key={item.key}
                    ref={rows.measureElement}
                    data-index={item.index}
                    role="row"
                    aria-rowindex={item.index + 2}
                    className={`${styles.row} ${styles.placed}`}
                    style={{ transform: `translateY(${item.start}px)` }}
                  >
                    <WorkerRow worker={worker} now={now} rate={rates.of(worker.worker_id)} />
                  </div>
                );
              })}
            </div>
          </div>
        </div>
      )}
    </div>
  );
}
