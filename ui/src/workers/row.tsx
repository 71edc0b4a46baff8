// One worker in the list.

import { ActionIcon, Badge, Menu, Progress, Text, Tooltip } from "@mantine/core";
import { IconBan, IconDots } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { sendJson } from "../api/client";
import { ask, resting, useAct } from "../parts/act";
import { bytesText, countText, momentText, spanText } from "../parts/format";
import { sinceText } from "../parts/since";
import { useSession } from "../session";
import { concernsOf, type KnownWorker, spoolShare } from "./concerns";
import styles from "./workers.module.css";

export const columns = [
  "State",
  "Worker",
  "Heard of",
  "Live logs",
  "Spool",
  "Lag",
  "Rate",
  "Version",
  "Certificate",
  "",
] as const;

function Cell({ label, children }: { label: string; children: ReactNode }): ReactNode {
  return (
    <div role="cell" className={styles.cell}>
      <span className={styles.label} aria-hidden>
        {label}
      </span>
      {children}
    </div>
  );
}

function Spool({ worker }: { worker: KnownWorker }): ReactNode {
  const share = spoolShare(worker);
  const color = share >= 0.95 ? "red" : share >= 0.7 ? "orange" : "pine";
  return (
    <>
      <Text size="sm" span>
        {bytesText(worker.spool_bytes)}
        <Text span size="xs" c="dimmed">
          {worker.spool_limit_bytes > 0 ? ` of ${bytesText(worker.spool_limit_bytes)}` : ""}
        </Text>
      </Text>
      {worker.spool_limit_bytes > 0 ? (
        <Progress value={share * 100} color={color} size={4} mt={2} aria-label="Share of the spool that is used" />
      ) : null}
    </>
  );
}

function leftText(expiresAt: string, now: number): string {
  const left = Date.parse(expiresAt) - now;
  return left > 0 ? `${spanText(left)} left` : "expired";
}

function lagText(worker: KnownWorker): string {
  if (worker.received_bytes === 0) return "–";
  return worker.lag_seconds < 0.1 ? "< 0.1 s" : spanText(worker.lag_seconds * 1_000);
}

function Certificate({ worker, now }: { worker: KnownWorker; now: number }): ReactNode {
  const certificate = worker.certificate;
  if (!certificate)
    return (
      <Text size="sm" c="dimmed">
        none
      </Text>
    );
  if (certificate.revoked_at)
    return (
      <Badge color="red" variant="light" tt="none">
        revoked
      </Badge>
    );
  return (
    <Tooltip label={`Serial ${certificate.serial}, until ${momentText(certificate.expires_at)}`}>
      <span tabIndex={0}>{certificate.expires_at ? leftText(certificate.expires_at, now) : "for ever"}</span>
    </Tooltip>
  );
}

function tokenOf(worker: KnownWorker): string {
  return worker.certificate?.token_id
    ? `${worker.certificate.token_id}, on the page of access`
    : "on the page of access";
}

function Acts({ worker }: { worker: KnownWorker }): ReactNode {
  const revoke = useAct({
    run: (workerId: string) => sendJson<unknown>("DELETE", `/certificates?worker_id=${encodeURIComponent(workerId)}`),
    done: (_, workerId) => `All certificates of ${workerId} are revoked; its streams end`,
    outdated: [["workers"], ["certificates"]],
  });
  const question = {
    title: `Revoke the certificates of ${worker.worker_id}?`,
    text: `It is cut off at once. While its token is good, it may join again by itself: to keep it out, revoke the token, too (${tokenOf(worker)}). What it captures stays in its spool meanwhile. This can't be undone.`,
    act: "Revoke",
    dangerous: true,
  };
  return (
    <Menu position="bottom-end" disabled={revoke.running}>
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          {...resting(revoke.running)}
          aria-label={`What can be done with ${worker.worker_id}`}
        >
          <IconDots size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          c="var(--bad)"
          leftSection={<IconBan size={14} aria-hidden />}
          onClick={() => ask(question, () => revoke.start(worker.worker_id))}
        >
          Revoke its certificates
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** now: the leader's. rate: bytes a second, null where it is not known yet. */
export function WorkerRow({ worker, now, rate }: { worker: KnownWorker; now: number; rate: number | null }): ReactNode {
  const session = useSession();
  const concerns = concernsOf(worker, now);
  const bad = concerns.some((concern) => concern.weight === 2);
  const revocable = worker.certificate !== null && !worker.certificate.revoked_at && session.may("workers.manage");
  return (
    <>
      <div role="cell" className={styles.state}>
        <Badge color={bad ? "red" : worker.connected ? "green" : "gray"} variant="light" tt="none">
          {worker.connected ? "connected" : "gone"}
        </Badge>
      </div>
      <div role="cell" className={styles.name}>
        <div className={styles.id} title={worker.worker_id}>
          {worker.worker_id}
        </div>
        <Text size="xs" c="dimmed" truncate>
          {worker.host || "host not known"}
        </Text>
        {concerns.map((concern) => (
          <Text key={concern.text} size="xs" c={concern.weight === 2 ? "var(--bad)" : "var(--doubtful)"}>
            {concern.text}
          </Text>
        ))}
      </div>
      <Cell label="Heard of">
        <Tooltip label={momentText(worker.last_seen_at)}>
          <span tabIndex={0}>{sinceText(worker.last_seen_at, now)}</span>
        </Tooltip>
      </Cell>
      <Cell label="Live logs">{countText(worker.logs)}</Cell>
      <Cell label="Spool">
        <Spool worker={worker} />
      </Cell>
      <Cell label="Lag">{lagText(worker)}</Cell>
      <Cell label="Rate">{rate === null ? "–" : `${bytesText(Math.round(rate))}/s`}</Cell>
      <Cell label="Version">{worker.version || "–"}</Cell>
      <Cell label="Certificate">
        <Certificate worker={worker} now={now} />
      </Cell>
      <div role="cell" className={styles.menu}>
        {revocable ? <Acts worker={worker} /> : null}
      </div>
    </>
  );
}
