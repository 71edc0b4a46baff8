// Backups: which there are, whether they were verified, what is done with them now.

import { Alert, Badge, Button, Group, Menu, Modal, Progress, Stack, Table, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { ApiError, getJson, type Schemas, sendJson } from "../api/client";
import { every, useFailure } from "../api/queries";
import { ActButton, ask, leaveMenu, resting, useAct } from "../parts/act";
import { bytesText, countText, momentText } from "../parts/format";
import { Fact, Facts, Section } from "../parts/page";
import styles from "../parts/page.module.css";
import { Failure, Loading } from "../parts/states";

type Backup = Schemas["Backup"];
type Job = Schemas["BackupJob"];

const REFRESH_MS = 30_000;
const JOB_REFRESH_MS = 1_000;
const OUTDATED = [["backups"]];

const doings: Record<Job["kind"], string> = {
  backup: "A backup is made",
  verify: "A backup is verified",
  restore: "Runs are restored",
};
const done: Record<Job["kind"], string> = {
  backup: "The last backup",
  verify: "The last verification",
  restore: "The last restore",
};

function JobNote({ job }: { job: Job }): ReactNode {
  if (job.finished_at === null) {
    return (
      <Stack gap={4} role="status">
        <Text size="sm">
          {doings[job.kind]}: {bytesText(job.done_bytes)}
          {job.total_bytes > 0 ? ` of ${bytesText(job.total_bytes)}` : ""}
          {job.logs > 0 ? `, ${countText(job.logs)} logs` : ""}
        </Text>
        <Progress
          value={job.total_bytes > 0 ? (100 * job.done_bytes) / job.total_bytes : 100}
          animated={job.total_bytes === 0}
          size={4}
          aria-label={doings[job.kind]}
        />
      </Stack>
    );
  }
  const bad = job.error !== "" || job.problems.length > 0;
  if (!bad) {
    return (
      <Text size="sm" role="status">
        {done[job.kind]} ended well, {momentText(job.finished_at)}
        {job.logs > 0 ? `: ${countText(job.logs)} logs` : ""}.
      </Text>
    );
  }
  return (
    <Alert color="red" role="alert" title={`${done[job.kind]} ${job.error ? "failed" : "found what is wrong"}`}>
      {job.error ? <Text size="sm">{job.error}</Text> : null}
      {job.problems.map((problem) => (
        <Text size="sm" key={problem}>
          {problem}
        </Text>
      ))}
    </Alert>
  );
}

function Verified({ backup }: { backup: Backup }): ReactNode {
  const { verified } = backup;
  if (verified === null) return <Text size="sm">not yet</Text>;
  return (
    <Group gap={6} wrap="nowrap">
      <Badge color={verified.problems > 0 ? "red" : "green"} variant="light" tt="none">
        {verified.problems > 0 ? `${countText(verified.problems)} problems` : verified.restored ? "restored" : "good"}
      </Badge>
      <Text size="sm">{momentText(verified.at)}</Text>
    </Group>
  );
}

/** Lines NAMESPACE/RUN, as a body of a request; the line that is none of them. */
export function runsOf(text: string): { runs: Schemas["RunWanted"][]; wrong: string } {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const parts = lines.map((line) => line.split("/"));
  const wrong = lines.find((_, index) => parts[index]?.length !== 2 || parts[index]?.includes("")) ?? "";
  return { runs: parts.map(([namespace = "", run = ""]) => ({ namespace, run })), wrong };
}

function Restore({ backup, onClose }: { backup: Backup; onClose: () => void }): ReactNode {
  const [text, setText] = useState("");
  const { runs, wrong } = runsOf(text);
  const restore = useAct({
    run: () => sendJson<Job>("POST", `/backups/${backup.id}/restore`, { runs }),
    done: () => `${countText(runs.length)} ${runs.length === 1 ? "run is" : "runs are"} being restored`,
    outdated: OUTDATED,
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        restore.start(undefined);
        onClose();
      }}
    >
      <Stack gap="sm">
        <Text size="sm">
          Runs are taken from the backup of {momentText(backup.created_at)} into this leader, and read as before, under
          the same links. What is there is not changed. The whole store comes back with <code>joblog restore</code>,
          where no leader runs.
        </Text>
        <Textarea
          label="Runs, one a line"
          placeholder="default/nightly"
          autosize
          minRows={3}
          data-autofocus
          value={text}
          error={wrong ? `Write NAMESPACE/RUN: ${wrong}` : null}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <Button type="submit" disabled={runs.length === 0 || wrong !== ""}>
          Restore
        </Button>
      </Stack>
    </form>
  );
}

function BackupTable({ backups, busy }: { backups: readonly Backup[]; busy: boolean }): ReactNode {
  const [restoring, setRestoring] = useState<Backup | null>(null);
  const [asked, setAsked] = useState(false);
  const restore = (backup: Backup): void => {
    leaveMenu();
    setRestoring(backup);
    setAsked(true);
  };
  const verify = useAct({
    run: ({ id, restore }: { id: string; restore: boolean }) =>
      sendJson<Job>("POST", `/backups/${id}/verify`, { restore }),
    done: () => "The backup is being read back",
    outdated: OUTDATED,
  });
  const askToVerify = (backup: Backup, restore: boolean): void =>
    ask(
      {
        title: `Verify the backup of ${momentText(backup.created_at)}?`,
        text: restore
          ? `All ${bytesText(backup.bytes)} are read back, restored to a scratch folder on the leader's disk, and each log is read there.`
          : `All ${bytesText(backup.bytes)} are read back from the target.`,
        act: "Verify it",
      },
      () => verify.start({ id: backup.id, restore }),
    );
  return (
    <>
      <Table.ScrollContainer
        tabIndex={0}
        role="region"
        aria-label="Backups"
        minWidth={600}
        maxHeight={400}
        type="native"
      >
        <Table verticalSpacing={4} className={styles.table} stickyHeader>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Made</Table.Th>
              <Table.Th>Why</Table.Th>
              <Table.Th ta="right">Holds</Table.Th>
              <Table.Th ta="right">New in it</Table.Th>
              <Table.Th>Verified</Table.Th>
              <Table.Th />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {backups.map((backup) => (
              <Table.Tr key={backup.id}>
                <Table.Td title={backup.id}>{momentText(backup.created_at)}</Table.Td>
                <Table.Td>{backup.reason}</Table.Td>
                <Table.Td ta="right">{bytesText(backup.bytes)}</Table.Td>
                <Table.Td ta="right">{bytesText(backup.sent_bytes)}</Table.Td>
                <Table.Td>
                  <Verified backup={backup} />
                </Table.Td>
                <Table.Td ta="right">
                  <Menu position="bottom-end" disabled={busy}>
                    <Menu.Target>
                      <Button
                        size="compact-xs"
                        variant="default"
                        {...resting(busy)}
                        aria-label={`What to do with the backup of ${momentText(backup.created_at)}`}
                      >
                        …
                      </Button>
                    </Menu.Target>
                    <Menu.Dropdown>
                      <Menu.Item onClick={() => askToVerify(backup, false)}>Verify…</Menu.Item>
                      <Menu.Item onClick={() => askToVerify(backup, true)}>Verify by restoring it aside…</Menu.Item>
                      <Menu.Item onClick={() => restore(backup)}>Restore runs…</Menu.Item>
                    </Menu.Dropdown>
                  </Menu>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <Modal
        opened={asked}
        onClose={() => setAsked(false)}
        title="Restore runs"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        {restoring ? <Restore backup={restoring} onClose={() => setAsked(false)} /> : null}
      </Modal>
    </>
  );
}

export function BackupsSection(): ReactNode {
  const asked = useQuery({
    queryKey: ["backups"],
    queryFn: ({ signal }) => getJson<Schemas["Backups"]>("/backups", {}, signal),
    refetchInterval: (query) => every(query.state.data?.job?.finished_at === null ? JOB_REFRESH_MS : REFRESH_MS)(query),
  });
  const { data, refetch, dataUpdatedAt } = asked;
  const failure = useFailure(asked);
  const create = useAct({
    run: () => sendJson<Job>("POST", "/backups"),
    done: () => "A backup has begun",
    outdated: OUTDATED,
  });
  const unset = failure instanceof ApiError && failure.status === 409;
  const busy = data?.job?.finished_at === null;
  const question = {
    title: "Make a backup now?",
    text: "It holds the leader's store as it is at this moment. Logs are taken in and read meanwhile.",
    act: "Make it",
  };
  const acts = (
    <ActButton
      size="compact-sm"
      variant="default"
      busy={busy || create.running}
      onClick={() => ask(question, () => create.start(undefined))}
    >
      Back up now…
    </ActButton>
  );
  return (
    <Section title="Backups" acts={data ? acts : null}>
      {unset ? (
        <Text size="sm" c="dimmed">
          No place for backups is set: <code>backup.url</code> in the leader's settings names one.
        </Text>
      ) : failure ? (
        <Failure error={failure} retry={() => void refetch()} since={dataUpdatedAt} />
      ) : null}
      {asked.isPending && !failure ? <Loading label="Loading the backups" /> : null}
      {data ? (
        <>
          <Facts>
            <Fact name="Place">{data.target}</Fact>
            <Fact name="Next one">{data.next_backup_at ? momentText(data.next_backup_at) : "when somebody asks"}</Fact>
            <Fact name="Next verification">
              {data.next_verify_at ? momentText(data.next_verify_at) : "when somebody asks"}
            </Fact>
          </Facts>
          {data.job ? <JobNote job={data.job} /> : null}
          {data.unreadable.length > 0 ? (
            <Alert color="orange" role="alert" title="Backups that can't be used">
              {data.unreadable.map((one) => (
                <Text size="sm" key={one.id}>
                  {one.id}: {one.why}
                </Text>
              ))}
            </Alert>
          ) : null}
          {data.backups.length > 0 ? (
            <BackupTable backups={data.backups} busy={busy} />
          ) : (
            <Text size="sm">There is no backup yet.</Text>
          )}
        </>
      ) : null}
    </Section>
  );
}
