// Tokens: who has them, what they may do, and taking them away.

import { Badge, Group, SegmentedControl, Text, Tooltip } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Schemas, sendJson } from "../api/client";
import { ActButton, ask, useAct } from "../parts/act";
import { bytesText, countText, momentText } from "../parts/format";
import { sinceText } from "../parts/since";
import { Empty, Failure, Loading } from "../parts/states";
import styles from "./access.module.css";
import { NewToken } from "./new_token";
import { usePages } from "./pages";
import { Cell, Rows } from "./rows";

type Token = Schemas["Token"];

const REFRESH_MS = 15_000;
const itemsOf = (page: Schemas["Tokens"]): Token[] => page.tokens;
const columns = ["Token", "May", "State", "Used last", "Expires", "Made by", ""];

export function tokenState(token: Token, now: number): "good" | "expired" | "revoked" {
  if (token.revoked_at) return "revoked";
  return token.expires_at && Date.parse(token.expires_at) <= now ? "expired" : "good";
}

export interface UseText {
  text: string;
  /** Of what is allowed; null where nothing limits it. */
  share: number | null;
}

/** What the holder uses, against what it may; nothing where it neither uses nor is limited. */
export function usesOf({ quota, use }: Pick<Token, "quota" | "use">): UseText[] {
  const uses: UseText[] = [];
  const add = (used: number, most: number, shown: (value: number) => string, what: string): void => {
    if (used > 0 || most > 0)
      uses.push({
        text: `${shown(used)}${most > 0 ? ` of ${shown(most)}` : ""} ${what}`,
        share: most > 0 ? used / most : null,
      });
  };
  add(use.bytes_today, quota.bytes_per_day, bytesText, "today");
  add(use.stored_bytes, quota.stored_bytes, bytesText, "stored");
  add(use.live_logs, quota.live_logs, countText, "live logs");
  if (quota.requests_per_second > 0)
    uses.push({ text: `at most ${countText(quota.requests_per_second)} requests a second`, share: null });
  return uses;
}

export function Grants({ grants }: { grants: readonly Schemas["Grant"][] }): ReactNode {
  return (
    <>
      {grants.map((grant) => (
        <div key={`${grant.role} ${grant.namespaces.join(" ")}`}>
          <Text span size="sm" fw={600}>
            {grant.role}
          </Text>{" "}
          <Text span size="sm" c="dimmed">
            {grant.namespaces.length === 1 && grant.namespaces[0] === "*"
              ? "on all namespaces"
              : `on ${grant.namespaces.join(", ")}`}
          </Text>
        </div>
      ))}
    </>
  );
}

function Revoke({ token }: { token: Token }): ReactNode {
  const revoke = useAct({
    run: (id: string) => sendJson<Token>("DELETE", `/tokens/${encodeURIComponent(id)}`),
    done: (gone) => `${gone.name} is revoked, with its certificates and sessions`,
    outdated: [["tokens"], ["certificates"]],
  });
  const question = {
    title: `Revoke ${token.name}?`,
    text: "Whoever uses it is let in no more, from this second on: workers that joined with it and browsers that signed in with it neither. This can't be undone.",
    act: "Revoke",
    dangerous: true,
  };
  return (
    <ActButton
      size="compact-xs"
      variant="subtle"
      color="red"
      busy={revoke.running}
      aria-label={`Revoke ${token.name}`}
      onClick={() => ask(question, () => revoke.start(token.id))}
    >
      Revoke…
    </ActButton>
  );
}

function TokenRow({ token, now }: { token: Token; now: number }): ReactNode {
  const state = tokenState(token, now);
  return (
    <>
      <Cell label="Token">
        <Text size="sm" fw={600} className={styles.cell} lineClamp={2} title={token.name}>
          {token.name}
        </Text>
        <Text size="xs" c="dimmed" ff="monospace">
          {token.id}
        </Text>
      </Cell>
      <Cell label="May">
        <Grants grants={token.grants} />
        {token.worker_id ? (
          <Text size="xs" c="dimmed">
            only worker {token.worker_id}
          </Text>
        ) : null}
        {usesOf(token).map((use) => (
          <Text
            key={use.text}
            size="xs"
            c={use.share === null || use.share < 0.8 ? "dimmed" : use.share < 1 ? "var(--doubtful)" : "var(--bad)"}
          >
            {use.text}
            {use.share !== null && use.share >= 1 ? ": used up" : ""}
          </Text>
        ))}
      </Cell>
      <Cell label="State">
        <Badge color={state === "good" ? "green" : state === "expired" ? "gray" : "red"} variant="light" tt="none">
          {state}
        </Badge>
      </Cell>
      <Cell label="Used last">
        <Tooltip label={momentText(token.last_used_at)} disabled={!token.last_used_at}>
          <span>{sinceText(token.last_used_at, now)}</span>
        </Tooltip>
      </Cell>
      <Cell label="Expires">
        <Tooltip label={momentText(token.expires_at)} disabled={!token.expires_at}>
          <span>{sinceText(token.expires_at, now)}</span>
        </Tooltip>
      </Cell>
      <Cell label="Made by">
        {token.created_by}
        <Text size="xs" c="dimmed">
          {sinceText(token.created_at, now)}
        </Text>
      </Cell>
      <div role="cell">{state === "good" ? <Revoke token={token} /> : null}</div>
    </>
  );
}

export function Tokens(): ReactNode {
  const list = usePages("tokens", "/tokens", {}, itemsOf, REFRESH_MS);
  const [shown, setShown] = useState("good");
  const now = Date.now();
  const tokens = shown === "all" ? list.items : list.items.filter((token) => tokenState(token, now) === "good");
  return (
    <div className={styles.stack}>
      <Group className={styles.bar} gap="sm">
        <NewToken />
        <SegmentedControl
          size="xs"
          aria-label="Which tokens"
          value={shown}
          onChange={setShown}
          data={[
            { value: "good", label: "Good ones" },
            { value: "all", label: "All" },
          ]}
        />
      </Group>
      {list.error ? <Failure error={list.error} retry={list.retry} since={list.toldAt} /> : null}
      {list.loading ? (
        <Loading label="Loading the tokens" />
      ) : tokens.length === 0 && list.error ? null : tokens.length === 0 && !list.more ? (
        <Empty title="No token is here">
          Make one for each worker, script and person: then each can be taken away for itself.
        </Empty>
      ) : (
        <Rows
          label="Tokens"
          columns={columns}
          className={styles.tokens}
          items={tokens}
          keyOf={(token) => token.id}
          more={list.more}
          loadMore={list.loadMore}
          end={`${countText(tokens.length)} ${tokens.length === 1 ? "token" : "tokens"}`}
        >
          {(token) => <TokenRow token={token} now={now} />}
        </Rows>
      )}
    </div>
  );
}
