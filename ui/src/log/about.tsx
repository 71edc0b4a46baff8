// What a log is: how its task ran and ended, where its bytes lie, and whether all of them are there.

import { ActionIcon, Anchor, Code, Group, ScrollArea, Stack, Text, Title } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { getJson, type Log, type LogEvent, type Logs, runPath } from "../api/client";
import { outcomeText, State } from "../parts/badges";
import { bytesText, countText, keptText, momentText, spanText } from "../parts/format";
import { labelsInOrder } from "../parts/labels";
import { compareUrl, logUrl, runUrl } from "../parts/links";
import styles from "./panel.module.css";
import { SealFacts } from "./seal";

function Fact({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <div className={styles.fact}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Attempts({ log }: { log: Log }): ReactNode {
  const { data } = useQuery({
    queryKey: ["attempts", log.namespace, log.run, log.task],
    queryFn: ({ signal }) =>
      getJson<Logs>(`${runPath(log.namespace, log.run)}/logs`, { task: log.task, limit: 100 }, signal),
  });
  const others = (data?.logs ?? []).filter((other) => other.attempt !== log.attempt);
  if (others.length === 0) return null;
  return (
    <Stack gap={4}>
      <Title order={3} size="h6">
        Other attempts
      </Title>
      {others.map((other) => (
        <Group key={other.attempt} gap="xs">
          <Anchor size="sm" component={Link} to={logUrl(other)}>
            #{other.attempt}
          </Anchor>
          <State state={other.state} />
          <Text size="sm" c="dimmed">
            {outcomeText(other) ?? ""}
          </Text>
          <Anchor size="sm" component={Link} to={compareUrl(log, other)}>
            Compare
          </Anchor>
        </Group>
      ))}
    </Stack>
  );
}

export function About({
  log,
  events,
  onClose,
}: {
  log: Log;
  events: readonly LogEvent[];
  onClose: () => void;
}): ReactNode {
  const began = log.start?.started_at ?? log.created_at;
  const ended = log.outcome?.ended_at ?? log.completed_at;
  const duration = began && ended ? Date.parse(ended) - Date.parse(began) : null;
  const labels = labelsInOrder(log.start?.labels ?? {});
  return (
    <aside className={styles.panel} aria-label="About this log">
      <Group justify="space-between" p="sm" pb={0}>
        <Title order={2} size="h5">
          About this log
        </Title>
        <ActionIcon variant="subtle" color="gray" aria-label="Close" onClick={onClose}>
          <IconX size={16} />
        </ActionIcon>
      </Group>
      <ScrollArea className={styles.content} p="sm">
        <Stack gap="md">
          <dl className={styles.facts}>
            <Fact name="Run">
              <Anchor size="sm" underline="always" component={Link} to={runUrl(log)}>
                {log.run}
              </Anchor>{" "}
              in {log.namespace}
            </Fact>
            <Fact name="Command">
              {log.start ? <Code className={styles.command}>{log.start.command.join(" ")}</Code> : "–"}
            </Fact>
            <Fact name="Started">{momentText(began)}</Fact>
            <Fact name="Ended">{ended ? momentText(ended) : "still running"}</Fact>
            {duration !== null ? <Fact name="Duration">{spanText(duration)}</Fact> : null}
            <Fact name="Outcome">{outcomeText(log) ?? "–"}</Fact>
            {log.death ? (
              <Fact name="Died">
                {log.death.reason.replaceAll("_", " ")}
                {log.death.node ? ` on ${log.death.node}` : ""}
              </Fact>
            ) : null}
            {log.outcome?.message ? <Fact name="Says">{log.outcome.message}</Fact> : null}
            <Fact name="Host">{log.start?.host ?? "–"}</Fact>
            <Fact name="Worker">{log.start?.worker_id ?? "–"}</Fact>
            {log.outcome ? (
              <Fact name="Resources">
                {log.outcome.cpu_seconds.toFixed(1)} s CPU, {bytesText(log.outcome.peak_memory_bytes)} memory at most
              </Fact>
            ) : null}
            <Fact name="Size">
              {bytesText(log.length)}, {countText(log.newlines)} lines; {bytesText(log.stored_bytes)} stored
            </Fact>
            <Fact name="Place">{log.tier === "archive" ? "the archive" : "the leader's store"}</Fact>
            {log.kept ? <Fact name="Kept">{keptText(log.kept).replace(/^kept /, "")}</Fact> : null}
            {labels.map(([name, value]) => (
              <Fact name={name} key={name}>
                {value}
              </Fact>
            ))}
          </dl>
          <SealFacts log={log} />
          <Attempts log={log} />
          {events.length > 0 ? (
            <Stack gap={4}>
              <Title order={3} size="h6">
                What joblog has to say
              </Title>
              {events.map((event) => (
                <Text size="sm" key={`${event.at}${event.kind}`}>
                  <Text span c="dimmed" size="xs">
                    {momentText(event.at)}{" "}
                  </Text>
                  {event.kind.replaceAll("_", " ")}: {event.message}
                </Text>
              ))}
            </Stack>
          ) : null}
        </Stack>
      </ScrollArea>
    </aside>
  );
}
