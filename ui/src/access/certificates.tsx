// Certificates of workers.

import { Badge, Text, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";
import { type Schemas, sendJson } from "../api/client";
import { ActButton, ask, useAct } from "../parts/act";
import { countText, momentText } from "../parts/format";
import { sinceText } from "../parts/since";
import { Empty, Failure, Loading } from "../parts/states";
import styles from "./access.module.css";
import { usePages } from "./pages";
import { Cell, Rows } from "./rows";

type Certificate = Schemas["Certificate"];

const REFRESH_MS = 15_000;
const itemsOf = (page: Schemas["Certificates"]): Certificate[] => page.certificates;
const columns = ["Worker", "Serial", "State", "Issued", "Expires", ""];

function stateOf(certificate: Certificate, now: number): string {
  if (certificate.revoked_at) return "revoked";
  return certificate.expires_at && Date.parse(certificate.expires_at) <= now ? "expired" : "good";
}

function Revoke({ certificate }: { certificate: Certificate }): ReactNode {
  const revoke = useAct({
    run: (serial: string) => sendJson<unknown>("DELETE", `/certificates?serial=${encodeURIComponent(serial)}`),
    done: () => `The certificate of ${certificate.worker_id} is revoked; streams that came with it end`,
    outdated: [["certificates"], ["workers"]],
  });
  const question = {
    title: `Revoke this certificate of ${certificate.worker_id}?`,
    text: "Streams that came with it end at once. Others of this worker stay good; the page of workers revokes all of them. While its token is good, the worker may join again by itself. This can't be undone.",
    act: "Revoke",
    dangerous: true,
  };
  return (
    <ActButton
      size="compact-xs"
      variant="subtle"
      color="red"
      busy={revoke.running}
      aria-label={`Revoke the certificate ${certificate.serial} of ${certificate.worker_id}`}
      onClick={() => ask(question, () => revoke.start(certificate.serial))}
    >
      Revoke…
    </ActButton>
  );
}

function CertificateRow({ certificate, now }: { certificate: Certificate; now: number }): ReactNode {
  const state = stateOf(certificate, now);
  return (
    <>
      <Cell label="Worker">
        <Text size="sm" fw={600} className={styles.cell}>
          {certificate.worker_id}
        </Text>
        <Text size="xs" c="dimmed">
          joined with token {certificate.token_id}
        </Text>
      </Cell>
      <Cell label="Serial">
        <Text size="xs" ff="monospace" className={styles.cell}>
          {certificate.serial}
        </Text>
      </Cell>
      <Cell label="State">
        <Badge color={state === "good" ? "green" : state === "revoked" ? "red" : "gray"} variant="light" tt="none">
          {state}
        </Badge>
      </Cell>
      <Cell label="Issued">
        <Tooltip label={momentText(certificate.issued_at)}>
          <span>{sinceText(certificate.issued_at, now)}</span>
        </Tooltip>
      </Cell>
      <Cell label="Expires">
        <Tooltip label={momentText(certificate.expires_at)}>
          <span>{sinceText(certificate.expires_at, now)}</span>
        </Tooltip>
      </Cell>
      <div role="cell">{state === "good" ? <Revoke certificate={certificate} /> : null}</div>
    </>
  );
}

export function Certificates(): ReactNode {
  const list = usePages("certificates", "/certificates", {}, itemsOf, REFRESH_MS);
  const now = Date.now();
  return (
    <div className={styles.stack}>
      {list.error ? <Failure error={list.error} retry={list.retry} since={list.toldAt} /> : null}
      {list.loading ? (
        <Loading label="Loading the certificates" />
      ) : list.items.length === 0 && list.error ? null : list.items.length === 0 ? (
        <Empty title="No worker has a certificate">A worker gets one when it joins with a token.</Empty>
      ) : (
        <Rows
          label="Certificates"
          columns={columns}
          className={styles.certificates}
          items={list.items}
          keyOf={(certificate) => certificate.serial}
          more={list.more}
          loadMore={list.loadMore}
          end={`${countText(list.items.length)} ${list.items.length === 1 ? "certificate" : "certificates"}`}
        >
          {(certificate) => <CertificateRow certificate={certificate} now={now} />}
        </Rows>
      )}
    </div>
  );
}
