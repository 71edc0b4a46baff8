// The form for a new token, and its secret, which is shown once.

import {
  ActionIcon,
  Alert,
  Button,
  Code,
  Collapse,
  CopyButton,
  Fieldset,
  Group,
  Modal,
  NumberInput,
  Select,
  Stack,
  TagsInput,
  Text,
  TextInput,
} from "@mantine/core";
import { IconCheck, IconCopy, IconPlus, IconTrash } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { type Schemas, sendJson } from "../api/client";
import { momentText } from "../parts/format";
import styles from "./access.module.css";
import { roleOptions } from "./roles";
import { type Draft, emptyDraft, type GrantDraft, lifetimes, noQuotas, problemsOf, wantedOf } from "./wanted";

function Grants({
  grants,
  problem,
  change,
}: {
  grants: readonly GrantDraft[];
  problem: string | undefined;
  change: (grants: GrantDraft[]) => void;
}): ReactNode {
  const set = (index: number, grant: GrantDraft): void => change(grants.map((old, at) => (at === index ? grant : old)));
  return (
    <Fieldset legend="What it may do">
      <Stack gap="sm">
        {grants.map((grant, index) => (
          <Group key={index} gap="xs" align="flex-end" wrap="nowrap">
            <Stack gap={4} flex={1} miw={0}>
              <Select
                label="Role"
                data={roleOptions}
                value={grant.role}
                allowDeselect={false}
                onChange={(role) => set(index, { ...grant, role: role ?? "reader" })}
              />
              <TagsInput
                label="on namespaces"
                placeholder={grant.namespaces.length === 0 ? "team-a, or team-*" : ""}
                acceptValueOnBlur
                value={grant.namespaces}
                onChange={(namespaces) => set(index, { ...grant, namespaces })}
              />
            </Stack>
            {grants.length > 1 ? (
              <ActionIcon
                variant="subtle"
                color="gray"
                mb={4}
                aria-label={`Take role ${index + 1} away`}
                onClick={() => change(grants.filter((_, at) => at !== index))}
              >
                <IconTrash size={16} />
              </ActionIcon>
            ) : null}
          </Group>
        ))}
        {problem ? (
          <Text size="sm" c="var(--bad)" role="alert">
            {problem}
          </Text>
        ) : null}
        <Button
          variant="subtle"
          size="compact-sm"
          w="fit-content"
          leftSection={<IconPlus size={14} aria-hidden />}
          onClick={() => change([...grants, { role: "reader", namespaces: [] }])}
        >
          Another role
        </Button>
      </Stack>
    </Fieldset>
  );
}

function Quotas({ draft, change }: { draft: Draft; change: (part: Partial<Draft>) => void }): ReactNode {
  const number = (name: "gibPerDay" | "gibStored" | "liveLogs" | "requestsPerSecond", label: string): ReactNode => (
    <NumberInput
      label={label}
      min={0}
      value={draft[name]}
      w={200}
      onChange={(value) => change({ [name]: Number(value) || 0 })}
    />
  );
  return (
    <Group gap="sm" pt="xs">
      {number("gibPerDay", "GiB a day")}
      {number("gibStored", "GiB stored")}
      {number("liveLogs", "Live logs at once")}
      {number("requestsPerSecond", "Requests a second")}
      <Text size="xs" c="dimmed">
        0: no limit but the leader's own.
      </Text>
    </Group>
  );
}

export function Secret({ made, onClose }: { made: Schemas["NewToken"]; onClose: () => void }): ReactNode {
  return (
    <Stack gap="sm">
      <Alert color="orange" title="Copy it now">
        This is the only time that it is shown: the leader keeps no more than a hash of it.
      </Alert>
      <Code block className={styles.secret} aria-label="The token">
        {made.secret}
      </Code>
      <Text size="sm" c="dimmed">
        {made.token.name} · {made.token.expires_at ? `until ${momentText(made.token.expires_at)}` : "for ever"} · id{" "}
        {made.token.id}
      </Text>
      <Group justify="flex-end">
        <CopyButton value={made.secret}>
          {({ copied, copy }) => (
            <Button
              variant="default"
              autoFocus
              leftSection={copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
              onClick={copy}
            >
              <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
            </Button>
          )}
        </CopyButton>
        <Button onClick={onClose}>I have it</Button>
      </Group>
    </Stack>
  );
}

function Form({ onMade, onClose }: { onMade: (made: Schemas["NewToken"]) => void; onClose: () => void }): ReactNode {
  const queries = useQueryClient();
  const [draft, setDraft] = useState(emptyDraft);
  const [tried, setTried] = useState(false);
  const [quotas, setQuotas] = useState(false);
  const create = useMutation({
    mutationFn: () =>
      sendJson<Schemas["NewToken"]>("POST", "/tokens", wantedOf(quotas ? draft : { ...draft, ...noQuotas })),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["tokens"] });
      onMade(made);
    },
  });
  const problems = problemsOf(draft);
  const change = (part: Partial<Draft>): void => setDraft((before) => ({ ...before, ...part }));
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (Object.keys(problems).length === 0) create.mutate();
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="sm">
        <TextInput
          label="Name"
          description="For lists and the audit log"
          placeholder="ci of team-a"
          data-autofocus
          maxLength={100}
          value={draft.name}
          error={tried ? problems.name : undefined}
          onChange={(event) => change({ name: event.currentTarget.value })}
        />
        <Grants
          grants={draft.grants}
          problem={tried ? problems.grants : undefined}
          change={(grants) => change({ grants })}
        />
        <Group gap="sm" grow align="flex-end">
          <Select
            label="Good for"
            data={lifetimes}
            value={draft.lifetimeSeconds}
            allowDeselect={false}
            onChange={(value) => change({ lifetimeSeconds: value ?? "0" })}
          />
          <TextInput
            label="Only for worker"
            placeholder="any"
            maxLength={250}
            value={draft.workerId}
            onChange={(event) => change({ workerId: event.currentTarget.value })}
          />
        </Group>
        <Button
          variant="subtle"
          size="compact-sm"
          w="fit-content"
          aria-expanded={quotas}
          onClick={() => setQuotas(!quotas)}
        >
          {quotas ? "No quotas" : "Quotas"}
        </Button>
        <Collapse expanded={quotas}>
          <Quotas draft={draft} change={change} />
        </Collapse>
        {create.error ? (
          <Alert color="red" role="alert" title="The token was not made">
            {create.error.message}
          </Alert>
        ) : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending}>
            Make the token
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

export function NewToken(): ReactNode {
  const [open, setOpen] = useState(false);
  const [made, setMade] = useState<Schemas["NewToken"] | null>(null);
  const close = (): void => {
    setOpen(false);
    setMade(null);
  };
  return (
    <>
      <Button size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setOpen(true)}>
        New token
      </Button>
      <Modal
        opened={open}
        onClose={close}
        size="lg"
        title={made ? "The token is made" : "New token"}
        closeOnClickOutside={false}
        closeOnEscape={made === null}
        withCloseButton={made === null}
        closeButtonProps={{ "aria-label": "Close" }}
      >
        {made ? <Secret made={made} onClose={close} /> : <Form onMade={setMade} onClose={close} />}
      </Modal>
    </>
  );
}
