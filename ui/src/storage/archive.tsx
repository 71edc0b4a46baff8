// The archive as the leader knows it: what goes there, how that does, and what it asked for.

import { Alert, Badge, Group, Progress, Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { Schemas } from "../api/client";
import { bytesText, countText, spanText } from "../parts/format";
import { Fact, Facts, Section } from "../parts/page";
import styles from "../parts/page.module.css";
import { sinceText } from "../parts/since";

type ArchiveState = Schemas["Archive"];

const workNames: Record<string, string> = {
  flush: "Flush of live logs",
  seal: "Sealing of completed logs",
  clean: "Cleaning up",
  claim: "Claim of the archive",
};

/** How long the archive has not been flushed to, in milliseconds; null before the first flush. */
export function flushLag(archive: ArchiveState, now: number): number | null {
  const flush = archive.work.find((work) => work.name === "flush");
  return flush?.worked_at ? Math.max(0, now - Date.parse(flush.worked_at)) : null;
}

function Works({ archive, now }: { archive: ArchiveState; now: number }): ReactNode {
  return (
    <Table.ScrollContainer tabIndex={0} role="region" aria-label="Archive" minWidth={560} type="native">
      <Table verticalSpacing={4} className={styles.table}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Work</Table.Th>
            <Table.Th>Now</Table.Th>
            <Table.Th>Done last</Table.Th>
            <Table.Th>Failed last</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {archive.work.map((work) => (
            <Table.Tr key={work.name}>
              <Table.Td>{workNames[work.name] ?? work.name}</Table.Td>
              <Table.Td>
                <Badge color={work.failing ? "red" : "green"} variant="light" tt="none" miw={64}>
                  {work.failing ? "failing" : "good"}
                </Badge>
              </Table.Td>
              <Table.Td>{sinceText(work.worked_at, now)}</Table.Td>
              <Table.Td>
                {sinceText(work.failed_at, now)}
                {work.error ? (
                  <Text size="xs" c={work.failing ? "var(--bad)" : "dimmed"}>
                    {work.error}
                  </Text>
                ) : null}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

export function ArchiveSection({ archive, now }: { archive: ArchiveState | null; now: number }): ReactNode {
  if (archive === null)
    return (
      <Section title="Archive">
        <Text size="sm">
          No archive is set: all logs stay in the buffer, on the leader's disk alone. To move completed logs to S3, or
          to another folder, set <code>archive.url</code>, as <code>s3://bucket/prefix</code> or{" "}
          <code>file:///folder</code>, and start the leader again.
        </Text>
      </Section>
    );
  const lag = flushLag(archive, now);
  const share = archive.budget_bytes > 0 ? Math.min(1, archive.unarchived_bytes / archive.budget_bytes) : 0;
  return (
    <Section title="Archive">
      {archive.held ? (
        <Alert color="red" title="Workers wait" role="alert">
          {archive.held}
        </Alert>
      ) : null}
      <Facts>
        <Fact name="Place">{archive.name}</Fact>
        <Fact name="Not archived yet">
          {bytesText(archive.unarchived_bytes)} of {bytesText(archive.budget_bytes)} that may wait
          <Progress
            value={share * 100}
            size={4}
            mt={4}
            maw={320}
            color={share >= 0.9 ? "red" : share >= 0.5 ? "orange" : "pine"}
            aria-label="Share of what may wait for the archive"
          />
        </Fact>
        <Fact name="Last flush">
          {lag === null ? "none yet" : `${spanText(lag)} ago`}, due each{" "}
          {spanText(archive.flush_interval_seconds * 1_000)}
        </Fact>
        <Fact name="Sealed">
          {countText(archive.sealed_logs)} {archive.sealed_logs === 1 ? "log" : "logs"} since the leader started,{" "}
          {countText(archive.unsealed_logs)} waiting
        </Fact>
      </Facts>
      <Works archive={archive} now={now} />
    </Section>
  );
}

const operationNames: Record<string, string> = {
  put: "put an object",
  get: "read",
  head: "look at one",
  list: "list",
  delete: "delete",
  start: "start an upload",
  part: "upload a part",
  copy: "copy a part",
  complete: "complete an upload",
  abort: "abort an upload",
  check: "look after the bucket",
};

export function RequestsTable({ archive }: { archive: ArchiveState }): ReactNode {
  return (
    <Stack gap="xs">
      <Group gap="lg">
        <Text size="sm">{bytesText(archive.sent_bytes)} sent</Text>
        <Text size="sm">{bytesText(archive.got_bytes)} received</Text>
        <Text size="sm">{countText(archive.packs)} packs of live logs</Text>
      </Group>
      <Table verticalSpacing={4} className={styles.table} maw={420}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Request</Table.Th>
            <Table.Th ta="right">Made</Table.Th>
            <Table.Th ta="right">Failed</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {archive.requests.map((request) => (
            <Table.Tr key={request.operation}>
              <Table.Td>{operationNames[request.operation] ?? request.operation}</Table.Td>
              <Table.Td ta="right">{countText(request.count)}</Table.Td>
              <Table.Td ta="right">{countText(request.failed)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}
