// What a page shows when it has nothing to show: loading, empty, failed, offline.

import { Alert, Button, Center, Loader, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconPlugConnectedX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { ApiError } from "../api/client";

export function Loading({ label = "Loading" }: { label?: string }): ReactNode {
  return (
    <Center mih={200} role="status" aria-label={label}>
      <Loader type="dots" />
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
        <Text c="dimmed" ta="center" component="div">
          {children}
        </Text>
      </Stack>
    </Center>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => void }): ReactNode {
  const offline = error instanceof ApiError && error.offline;
  const denied = error instanceof ApiError && error.status === 403;
  const title = offline ? "The leader can't be reached" : denied ? "Not allowed" : "That did not work";
  const message = error instanceof Error ? error.message : String(error);
  return (
    <Alert
      m="md"
      color={denied ? "yellow" : "red"}
      title={title}
      icon={offline ? <IconPlugConnectedX /> : <IconAlertTriangle />}
      role="alert"
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{offline ? "What you see may be old. It is tried again by itself." : message}</Text>
        {retry ? (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        ) : null}
      </Stack>
    </Alert>
  );
}
