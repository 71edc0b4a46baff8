// What stands above a run: what it is, and what can be done with it.

import { Anchor, Button, Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Link, useNavigate } from "react-router";
import { type Run, runPath, type Schemas, sendJson } from "../api/client";
import { ActButton, ask, useAct } from "../parts/act";
import { State } from "../parts/badges";
import { bytesText, countText, keptText, momentText, spanText } from "../parts/format";
import { Labels } from "../parts/labels";
import { useSession } from "../session";
import styles from "./run.module.css";

const MOST_LABELS = 8;

function DeleteRun({ run }: { run: Run }): ReactNode {
  const navigate = useNavigate();
  const act = useAct({
    run: () => sendJson<Schemas["Deleted"]>("DELETE", runPath(run.namespace, run.run)),
    done: (gone) => {
      navigate(`/runs?${new URLSearchParams({ namespace: run.namespace })}`);
      return `${countText(gone.logs_deleted)} logs deleted, ${bytesText(gone.bytes_deleted)}`;
    },
    outdated: [["runs"], ["news of runs"]],
  });
  const question = {
    title: `Delete the run ${run.run}?`,
    text: "All its logs go, with their keys: nothing of them can be read again, in the archive neither. Tasks that still run are refused from now on.",
    act: "Delete",
    dangerous: true,
  };
  return (
    <ActButton
      size="compact-sm"
      variant="subtle"
      color="red"
      busy={act.running}
      onClick={() => ask(question, () => act.start(undefined))}
    >
      Delete…
    </ActButton>
  );
}

interface RunHeadProps {
  run: Run;
  /** Of its logs, the run log left out. */
  logs: number;
  bytes: number;
  milliseconds: number;
}

export function RunHead({ run, logs, bytes, milliseconds }: RunHeadProps): ReactNode {
  const session = useSession();
  return (
    <div className={styles.head}>
      <Anchor
        component={Link}
        to={`/runs?${new URLSearchParams({ namespace: run.namespace })}`}
        size="sm"
        truncate
        display="block"
        maw="100%"
        title={run.namespace}
      >
        {run.namespace}
      </Anchor>
      <div className={styles.title}>
        <Title order={1} size="h4" lineClamp={3} title={run.run}>
          {run.run}
        </Title>
        <State state={run.state} />
        <Group gap="xs" wrap="nowrap" ml="auto">
          {session.may("log.read") ? (
            <Button
              size="compact-sm"
              variant="default"
              component={Link}
              to={`/search?${new URLSearchParams({ namespace: run.namespace, run: run.run })}`}
            >
              Search in it
            </Button>
          ) : null}
          {session.may("log.delete") ? <DeleteRun run={run} /> : null}
        </Group>
      </div>
      <Group gap="6px 8px" mt={4}>
        <Text size="sm" c="dimmed">
          {momentText(run.created_at)} · {spanText(milliseconds)} · {bytesText(bytes)} · {countText(logs)}{" "}
          {logs === 1 ? "log" : "logs"}
          {run.kept ? ` · ${keptText(run.kept)}` : ""}
        </Text>
        <Labels labels={run.labels} most={MOST_LABELS} />
      </Group>
    </div>
  );
}
