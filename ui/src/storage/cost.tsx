// What the archive holds and costs, counted when somebody asks.

import { Button, Group, NumberInput, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { getJson, type Schemas } from "../api/client";
import { bytesText, countText, momentText } from "../parts/format";
import { Section } from "../parts/page";
import styles from "../parts/page.module.css";
import { Failure } from "../parts/states";
import { RequestsTable } from "./archive";

interface Prices {
  storage: number;
  puts: number;
  gets: number;
}

const listPrices: Prices = { storage: 0.023, puts: 0.005, gets: 0.0004 };

const rowNames: Record<string, string> = {
  "a month at most": "A month, at most",
  "a month as counted": "A month, as asked so far",
  "a million tasks": "A million tasks",
  "a million tasks as counted": "A million tasks, as asked so far",
};

export function moneyText(money: number): string {
  if (money > 0 && money < 0.01) return "< 0.01";
  return money
    .toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })
    .replaceAll(",", "\u202f");
}

function Costs({ count }: { count: Schemas["ArchiveCount"] }): ReactNode {
  return (
    <Stack gap="xs">
      <Text size="sm" role="status">
        {countText(count.logs)} sealed logs, {countText(count.recent_logs)} of them of the last 30 days;{" "}
        {bytesText(count.bytes)} in all, {bytesText(count.live_bytes)} of logs that are not sealed yet. Counted at{" "}
        {momentText(count.counted_at)}.
      </Text>
      <Table.ScrollContainer
        tabIndex={0}
        role="region"
        aria-label="Requests and what they cost"
        minWidth={560}
        type="native"
      >
        <Table verticalSpacing={4} className={styles.table}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>For</Table.Th>
              <Table.Th ta="right">Writes</Table.Th>
              <Table.Th ta="right">Reads</Table.Th>
              <Table.Th ta="right">Stored</Table.Th>
              <Table.Th ta="right">Storage</Table.Th>
              <Table.Th ta="right">Requests</Table.Th>
              <Table.Th ta="right">Total</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {count.costs.map((cost) => (
              <Table.Tr key={cost.what}>
                <Table.Td>{rowNames[cost.what] ?? cost.what}</Table.Td>
                <Table.Td ta="right">{countText(cost.writes)}</Table.Td>
                <Table.Td ta="right">{countText(cost.reads)}</Table.Td>
                <Table.Td ta="right">{bytesText(cost.bytes)}</Table.Td>
                <Table.Td ta="right">{moneyText(cost.storage_money)}</Table.Td>
                <Table.Td ta="right">{moneyText(cost.request_money)}</Table.Td>
                <Table.Td ta="right" fw={600}>
                  {moneyText(cost.money)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}

export function CostSection({ archive }: { archive: Schemas["Archive"] }): ReactNode {
  const [prices, setPrices] = useState(listPrices);
  const count = useQuery({
    queryKey: ["cost"],
    queryFn: ({ signal }) => getJson<Schemas["ArchiveCount"]>("/storage/cost", { ...prices }, signal),
    enabled: false,
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void count.refetch();
  };
  const price = (name: keyof Prices, label: string): ReactNode => (
    <NumberInput
      size="xs"
      label={label}
      min={0}
      max={1_000_000}
      decimalScale={6}
      w={150}
      value={prices[name]}
      onChange={(value) => setPrices({ ...prices, [name]: Number(value) || 0 })}
    />
  );
  return (
    <Section title="Requests and cost">
      <Text size="sm" c="dimmed">
        What the leader has asked the archive for since it started:
      </Text>
      <RequestsTable archive={archive} />
      <form onSubmit={submit}>
        <Group gap="sm" align="flex-end">
          {price("storage", "Per GB and month")}
          {price("puts", "Per 1 000 writes")}
          {price("gets", "Per 1 000 reads")}
          <Button size="xs" type="submit" variant="default" loading={count.isFetching}>
            Count what it costs
          </Button>
        </Group>
      </form>
      <Text size="xs" c="dimmed">
        In any currency; what stands there is S3 Standard in US dollars. Counting lists all objects, a request for each
        thousand.
      </Text>
      {count.error ? <Failure error={count.error} /> : null}
      {count.data ? <Costs count={count.data} /> : null}
    </Section>
  );
}
