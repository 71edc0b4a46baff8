// The keys that logs are encrypted under.

import { Alert, Badge, Group, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { getJson, type Schemas, sendJson } from "../api/client";
import { every, useFailure } from "../api/queries";
import { ActButton, ask, useAct } from "../parts/act";
import { countText } from "../parts/format";
import { Fact, Facts, Section } from "../parts/page";
import styles from "../parts/page.module.css";
import { sinceText } from "../parts/since";
import { Failure, Loading } from "../parts/states";

const REFRESH_MS = 30_000;

const question = {
  title: "Make a new store key?",
  text: "Logs that begin from now on are encrypted under the new key. Those that are there stay under theirs, which are kept. Nothing needs to be restarted.",
  act: "Make it",
};

function Flags({ keyOf, own }: { keyOf: Schemas["StoreKey"]; own: string }): ReactNode {
  const flags: [boolean, string, string][] = [
    [keyOf.current, "current", "green"],
    [keyOf.store_id !== own, "taken over", "gray"],
    [!keyOf.present, "to be wrapped anew", "orange"],
    [!keyOf.archived, "not in the archive yet", "orange"],
    [keyOf.open, "open", "gray"],
  ];
  return (
    <Group gap={4}>
      {flags
        .filter(([shown]) => shown)
        .map(([, text, color]) => (
          <Badge key={text} color={color} variant="light" tt="none">
            {text}
          </Badge>
        ))}
    </Group>
  );
}

function StoreKeys({ keys, own, now }: { keys: readonly Schemas["StoreKey"][]; own: string; now: number }): ReactNode {
  const newest = [...keys].sort((one, other) => (other.made_at ?? "").localeCompare(one.made_at ?? ""));
  return (
    <Table.ScrollContainer
      tabIndex={0}
      role="region"
      aria-label="Store keys"
      minWidth={560}
      maxHeight={400}
      type="native"
    >
      <Table verticalSpacing={4} className={styles.table} stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Store key</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Made</Table.Th>
            <Table.Th>Wrapped</Table.Th>
            <Table.Th>By</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {newest.map((key) => (
            <Table.Tr key={key.id}>
              <Table.Td ff="monospace" title={key.id}>
                {key.id.slice(0, 12)}
              </Table.Td>
              <Table.Td>
                <Flags keyOf={key} own={own} />
              </Table.Td>
              <Table.Td>{key.made_at ? sinceText(key.made_at, now) : "not known"}</Table.Td>
              <Table.Td>{key.wrapped_at ? sinceText(key.wrapped_at, now) : "not known"}</Table.Td>
              <Table.Td>
                {key.kms} {key.kms_key_version}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

export function KeysSection(): ReactNode {
  const asked = useQuery({
    queryKey: ["keys"],
    queryFn: ({ signal }) => getJson<Schemas["Keys"]>("/keys", {}, signal),
    refetchInterval: every(REFRESH_MS),
  });
  const { data, refetch, dataUpdatedAt } = asked;
  const failure = useFailure(asked);
  const rotate = useAct({
    run: () => sendJson<Schemas["Rotated"]>("POST", "/keys/rotate"),
    done: (made) => `Store key ${made.store_key_id.slice(0, 12)} was made; new logs use it`,
    outdated: [["keys"]],
  });
  const current = data?.store_keys.find((key) => key.current);
  const acts = (
    <ActButton
      size="compact-sm"
      variant="default"
      busy={rotate.running}
      onClick={() => ask(question, () => rotate.start(undefined))}
    >
      Rotate…
    </ActButton>
  );
  return (
    <Section title="Keys" acts={data ? acts : null}>
      {failure ? <Failure error={failure} retry={() => void refetch()} since={dataUpdatedAt} /> : null}
      {asked.isPending && !failure ? <Loading label="Loading the keys" /> : null}
      {data ? (
        <>
          {data.warnings.map((warning) => (
            <Alert key={warning} color="orange" role="alert">
              {warning}
            </Alert>
          ))}
          <Facts>
            <Fact name="KMS">{data.kms}</Fact>
            <Fact name="Its key">
              {data.kms_key_id}
              {data.kms_key_version ? `, version ${data.kms_key_version}` : ""}
            </Fact>
            <Fact name="Asked">
              {countText(data.kms_calls)} {data.kms_calls === 1 ? "time" : "times"} since the leader started
            </Fact>
            <Fact name="A new store key">
              {data.store_key_days > 0 ? `each ${countText(data.store_key_days)} days` : "only when somebody asks"}
            </Fact>
          </Facts>
          <StoreKeys keys={data.store_keys} own={current?.store_id ?? ""} now={dataUpdatedAt} />
        </>
      ) : null}
      <Text size="xs" c="dimmed">
        A store key wraps the keys of logs, and lies wrapped by the KMS itself. To wrap all anew after the KMS's key was
        rotated, or to move to another KMS: <code>joblog keys rewrap</code>.
      </Text>
    </Section>
  );
}
