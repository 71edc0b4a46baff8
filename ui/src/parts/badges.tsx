// States as they look everywhere: a word with a colour, never a colour alone.

import { Badge, Group, Tooltip } from "@mantine/core";
import { IconArchive } from "@tabler/icons-react";
import type { ReactNode } from "react";
import type { Log } from "../api/client";

const colors: Record<string, string> = {
  live: "blue",
  completed: "green",
  succeeded: "green",
  failed: "red",
  interrupted: "orange",
};

export function State({ state }: { state: string }): ReactNode {
  return (
    <Badge color={colors[state] ?? "gray"} variant="light" tt="none">
      {state}
    </Badge>
  );
}

/** How a task ended, in few words; null while it runs. */
export function outcomeText(log: Log): string | null {
  const outcome = log.outcome;
  if (!outcome) return null;
  if (outcome.oom_killed) return "out of memory";
  if (outcome.kind === "exited") return `exit ${outcome.exit_code}`;
  if (outcome.signal > 0) return `signal ${outcome.signal}`;
  return outcome.kind.replaceAll("_", " ");
}

export function succeeded(log: Log): boolean {
  return log.outcome?.kind === "exited" && log.outcome.exit_code === 0;
}

/** brief: for lists, where many are below each other. */
export function LogState({ log, brief = false }: { log: Log; brief?: boolean }): ReactNode {
  const outcome = outcomeText(log);
  const good = succeeded(log);
  const missing = log.gaps.reduce((sum, gap) => sum + gap.length, 0);
  return (
    <Group gap={6} wrap="wrap">
      <State state={log.state === "completed" && outcome !== null ? (good ? "succeeded" : "failed") : log.state} />
      {outcome !== null && !good ? (
        <Badge color="red" variant="outline" tt="none">
          {outcome}
        </Badge>
      ) : null}
      {log.tier === "archive" ? (
        <Tooltip label="It lies in the archive">
          {brief ? (
            <IconArchive size={16} color="var(--mantine-color-dimmed)" role="img" aria-label="archived" />
          ) : (
            <Badge color="gray" variant="outline" tt="none">
              archived
            </Badge>
          )}
        </Tooltip>
      ) : null}
      {missing > 0 ? (
        <Tooltip label={`${log.gaps.length} ranges, ${missing} bytes`}>
          <Badge color="orange" variant="outline" tt="none">
            parts missing
          </Badge>
        </Tooltip>
      ) : null}
    </Group>
  );
}
