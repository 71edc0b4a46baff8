// Whether a log is complete: its seal, what is missing, and what its last verification has found.

import { Badge, Button, Code, Group, Stack, Text, Title, Tooltip } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect } from "react";
import { getJson, type Log, logPath, type Schemas } from "../api/client";
import { bytesText, countText, momentText } from "../parts/format";
import { sinceText } from "../parts/since";
import { useSession } from "../session";
import styles from "./panel.module.css";

type Verification = Schemas["Verification"];

/** The last verification in a few words: when, and whether what it found still counts. */
export function VerifiedText({ found, now }: { found: Verification | null; now: number }): ReactNode {
  if (found === null) {
    return (
      <Text size="sm" c="dimmed">
        Never verified.
      </Text>
    );
  }
  const good = found.problems === 0;
  return (
    <Stack gap={2}>
      <Group gap={6}>
        <Tooltip label={momentText(found.at)}>
          <Text size="sm" component="span" tabIndex={0}>
            Verified {sinceText(found.at, now)}
          </Text>
        </Tooltip>
        <Badge color={!good ? "red" : found.outdated ? "gray" : "green"} variant="light" tt="none">
          {found.outdated ? "out of date" : good ? (found.complete ? "complete" : "nothing wrong") : "not complete"}
        </Badge>
      </Group>
      <Text size="sm" {...(good ? {} : { c: "red" })}>
        {found.outdated ? "Then: " : ""}
        {found.says}.
      </Text>
      {found.outdated ? (
        <Text size="sm" c="orange">
          Since then {found.outdated}: verify it again.
        </Text>
      ) : null}
    </Stack>
  );
}

function Verify({ log }: { log: Log }): ReactNode {
  const path = logPath({ namespace: log.namespace, run: log.run, task: log.task, attempt: log.attempt });
  const queries = useQueryClient();
  const verify = useQuery({
    queryKey: ["verify", path],
    queryFn: async ({ signal }) => {
      const verdict = await getJson<Schemas["Verdict"]>(`${path}/verify`, {}, signal);
      await queries.invalidateQueries({ queryKey: ["log", path] });
      return verdict;
    },
    enabled: false,
    retry: false,
  });
  // What is known of a log that has ended is not asked for again and again: as of now it may lie somewhere else.
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ["log", path] });
  }, [queries, path]);
  const others = verify.data?.problems.slice(1) ?? [];
  return (
    <>
      <VerifiedText found={log.verified ?? null} now={Date.now()} />
      {verify.error ? (
        <Text size="sm" c="red" role="alert">
          {verify.error.message}
        </Text>
      ) : null}
      {others.map((problem) => (
        <Text size="sm" c="red" key={problem}>
          {problem}
        </Text>
      ))}
      <Button
        size="compact-sm"
        variant="default"
        className={styles.verify}
        loading={verify.isFetching}
        onClick={() => void verify.refetch()}
      >
        Verify now
      </Button>
    </>
  );
}

export function SealFacts({ log }: { log: Log }): ReactNode {
  const session = useSession();
  return (
    <Stack gap="xs">
      <Title order={3} size="h6">
        Complete?
      </Title>
      {log.adopted ? (
        <Text size="sm">
          Adopted from <Code>{log.adopted.url}</Code>, where its text stays. The seal is of what was there then; no
          writer&apos;s seal says that it was complete.
        </Text>
      ) : null}
      {log.seal ? (
        <Text size="sm">
          Sealed: {countText(log.seal.length)} bytes, {countText(log.seal.newlines)} lines
          {log.seal.gaps.length > 0 ? `, ${log.seal.gaps.length} ranges missing` : ", nothing missing"}.
        </Text>
      ) : (
        <Text size="sm">Not sealed yet: the task has not ended, or its worker was lost.</Text>
      )}
      {log.seal ? <Code className={styles.hash}>SHA-256 {log.seal.sha256}</Code> : null}
      {log.gaps.map((gap) => (
        <Text size="sm" c="orange" key={gap.offset}>
          {bytesText(gap.length)} missing from offset {countText(gap.offset)}: {gap.reason.replaceAll("_", " ")}
        </Text>
      ))}
      {session.may("log.verify") ? (
        <Verify log={log} />
      ) : (
        <VerifiedText found={log.verified ?? null} now={Date.now()} />
      )}
    </Stack>
  );
}
