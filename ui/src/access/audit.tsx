// The audit log: who did what, newest first.

import { Alert, Badge, Group, Select, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { type ReactNode, useMemo, useState } from "react";
import type { Schemas } from "../api/client";
import { countText, momentText } from "../parts/format";
import { Empty, Failure, Loading } from "../parts/states";
import styles from "./access.module.css";
import { usePages } from "./pages";
import { Cell, Rows } from "./rows";

type AuditLine = Schemas["AuditLine"];

// Each look is in the audit log itself.
const REFRESH_MS = 30_000;
const columns = ["When", "Outcome", "Who", "Did", "To what", "From"];

const actions = [
  { value: "*", label: "Every action" },
  { value: "login*", label: "Signing in" },
  { value: "join", label: "Joining of workers" },
  { value: "token.*", label: "Tokens" },
  { value: "certificate.*", label: "Certificates" },
  { value: "log.*", label: "All about logs" },
  { value: "log.delete", label: "Deleting logs" },
  { value: "log.read", label: "Reading logs" },
  { value: "log.search", label: "Searching logs" },
  { value: "keys.*", label: "Keys" },
  { value: "audit.*", label: "The audit log itself" },
];

const outcomes = [
  { value: "", label: "Every outcome" },
  { value: "ok", label: "ok" },
  { value: "refused", label: "refused" },
  { value: "failed", label: "failed" },
];

const colors: Record<string, string> = { ok: "green", refused: "orange", failed: "red" };

interface Entry {
  line: AuditLine;
  damaged: number;
}

const itemsOf = (page: Schemas["AuditPage"]): Entry[] =>
  page.lines.map((line, index) => ({ line, damaged: index === 0 ? page.damaged : 0 }));

function detailText(detail: Record<string, string>): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${value}`)
    .join(" · ");
}

function AuditRow({ line }: { line: AuditLine }): ReactNode {
  const detail = detailText(line.detail);
  return (
    <>
      <Cell label="When">
        {momentText(line.time)}
        <Text size="xs" c="dimmed">
          #{line.sequence}
        </Text>
      </Cell>
      <Cell label="Outcome">
        <Badge color={colors[line.outcome] ?? "gray"} variant="light" tt="none">
          {line.outcome}
        </Badge>
      </Cell>
      <Cell label="Who">
        {line.who.name || (line.who.kind ? line.who.kind : "nobody known")}
        {line.who.kind ? (
          <Text size="xs" c="dimmed">
            {line.who.kind}
          </Text>
        ) : null}
      </Cell>
      <Cell label="Did">
        {line.action}
        {line.count > 1 ? (
          <Text size="xs" c="dimmed">
            {countText(line.count)} times
          </Text>
        ) : null}
      </Cell>
      <Cell label="To what">
        <Text size="sm" lineClamp={3} title={line.subject}>
          {line.subject || "–"}
        </Text>
        {detail ? (
          <Text size="xs" c="dimmed" className={styles.cell} lineClamp={4} title={detail}>
            {detail}
          </Text>
        ) : null}
      </Cell>
      <Cell label="From">{line.peer.replace(/^ipv4:/, "") || "–"}</Cell>
    </>
  );
}

export function Audit(): ReactNode {
  const [action, setAction] = useState("*");
  const [outcome, setOutcome] = useState("");
  const [who, setWho] = useState("");
  const [settled] = useDebouncedValue(who.trim(), 300);
  const parameters = useMemo(() => ({ action, outcome, who: settled }), [action, outcome, settled]);
  const list = usePages("audit", "/audit", parameters, itemsOf, REFRESH_MS);
  const damaged = list.items.reduce((sum, entry) => sum + entry.damaged, 0);
  const filtered = action !== "*" || outcome !== "" || settled !== "";
  return (
    <div className={styles.stack}>
      <Group className={styles.bar} gap="sm">
        <Select
          size="xs"
          aria-label="Which actions"
          data={actions}
          value={action}
          allowDeselect={false}
          onChange={(value) => setAction(value ?? "*")}
          w={180}
        />
        <Select
          size="xs"
          aria-label="Which outcome"
          data={outcomes}
          value={outcome}
          allowDeselect={false}
          onChange={(value) => setOutcome(value ?? "")}
          w={140}
        />
        <TextInput
          size="xs"
          type="search"
          aria-label="Who, by name or id"
          placeholder="Name or id, in full"
          value={who}
          onChange={(event) => setWho(event.currentTarget.value)}
        />
        <Text size="xs" c="dimmed">
          Each line holds the one before: <code>joblog audit verify</code> proves that none is changed or missing.
        </Text>
      </Group>
      {damaged > 0 ? (
        <Alert color="red" m="md" title="Lines of the audit log are damaged" role="alert">
          {countText(damaged)} lines are not as they were written, and are not shown. <code>joblog audit verify</code>{" "}
          says which.
        </Alert>
      ) : null}
      {list.error ? <Failure error={list.error} retry={list.retry} since={list.toldAt} /> : null}
      {list.loading ? (
        <Loading label="Loading the audit log" />
      ) : list.items.length === 0 && list.error ? null : list.items.length === 0 && !list.more ? (
        <Empty title={filtered ? "Nobody did this" : "The audit log is empty"}>
          {filtered ? "Take a filter away to see more." : "It may be turned off: access.audit says so."}
        </Empty>
      ) : (
        <Rows
          label="Audit log"
          columns={columns}
          className={styles.audit}
          items={list.items}
          keyOf={(entry) => String(entry.line.sequence)}
          more={list.more}
          loadMore={list.loadMore}
          end="This is where the audit log begins"
        >
          {(entry) => <AuditRow line={entry.line} />}
        </Rows>
      )}
    </div>
  );
}
