// What a page shows when it has nothing to show: loading, empty, failed, offline.

import { Alert, Button, Center, Group, Loader, type MantineSpacing, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconPlugConnectedX } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import { ApiError } from "../api/client";
import { isPassing } from "../api/queries";
import { clockText } from "./format";

const SLOW_MS = 4_000;

export function Loading({ label = "Loading" }: { label?: string }): ReactNode {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <Center mih={200} role="status" aria-label={label}>
      <Stack align="center" gap="sm">
        <Loader type="dots" />
        {slow ? (
          <Text size="sm" c="dimmed">
            {label}: the leader takes its time
          </Text>
        ) : null}
      </Stack>
    </Center>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }): ReactNode {
  return (
    <Center mih={240} p="md">
      <Stack align="center" gap="xs" maw={560}>
        <Title order={2} size="h4">
          {title}
        </Title>
        <Text c="dimmed" ta="center" component="div" maw="100%" style={{ overflowWrap: "anywhere" }}>
          {children}
        </Text>
      </Stack>
    </Center>
  );
}

/** What went wrong, and what will be done about it or can be. */
function wordsOf(error: unknown): { title: string; text: string } {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiError)) return { title: "That did not work", text: message };
  if (error.offline)
    return { title: "The leader can't be reached", text: "It is asked again every few seconds, by itself." };
  if (error.status === 403)
    return {
      title: "Your account may not see this",
      text: `${sentence(message)} Ask an administrator for a role that may.`,
    };
  if (error.status === 404) return { title: "There is nothing here", text: sentence(message) };
  if (error.passing)
    return { title: "The leader could not answer", text: `${sentence(message)} It is asked again by itself.` };
  return { title: "That did not work", text: sentence(message) };
}

function sentence(message: string): string {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

interface FailureProps {
  error: unknown;
  retry?: () => void;
  /** When what is on the page was told, in milliseconds; 0: there is nothing on it. */
  since?: number;
  m?: MantineSpacing;
}

export function Failure({ error, retry, since = 0, m }: FailureProps): ReactNode {
  // Whom the leader does not know is led to the login.
  if (error instanceof ApiError && error.status === 401) return null;
  const { title, text } = wordsOf(error);
  const offline = error instanceof ApiError && error.offline;
  const stale = since > 0 && isPassing(error);
  return (
    <Alert
      m={m ?? (stale ? "xs" : "md")}
      py={stale ? 6 : "md"}
      color={stale || (error instanceof ApiError && error.status === 403) ? "yellow" : "red"}
      title={stale ? undefined : title}
      icon={offline ? <IconPlugConnectedX aria-hidden /> : <IconAlertTriangle aria-hidden />}
      role="alert"
    >
      <Group gap="xs" justify="space-between">
        <Text size="sm" flex="1 1 300px" style={{ overflowWrap: "anywhere" }}>
          {stale
            ? `${offline ? "The leader has not been reached" : title} since ${clockText(since)}: what you see is from then. ${text}`
            : text}
        </Text>
        {retry ? (
          <Button size="compact-xs" variant="default" onClick={retry}>
            Try again
          </Button>
        ) : null}
      </Group>
    </Alert>
  );
}
