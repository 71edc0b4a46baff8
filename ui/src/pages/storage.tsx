import { Alert, List, Progress, Stack, Text } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { getJson, type Schemas } from "../api/client";
import { every, useFailure } from "../api/queries";
import { bytesText, countText } from "../parts/format";
import { Fact, Facts, Page, Section } from "../parts/page";
import { sinceText } from "../parts/since";
import { Failure, Loading } from "../parts/states";
import { useSession } from "../session";
import { ArchiveSection } from "../storage/archive";
import { BackupsSection } from "../storage/backups";
import { CostSection } from "../storage/cost";
import { KeysSection } from "../storage/keys";

const REFRESH_MS = 5_000;
const FULL_SHARE = 0.9;

function Warnings({ warnings }: { warnings: readonly string[] }): ReactNode {
  if (warnings.length === 0) return null;
  return (
    <Alert color="orange" title={warnings.length === 1 ? "A warning" : `${warnings.length} warnings`} role="alert">
      <List size="sm">
        {warnings.map((warning) => (
          <List.Item key={warning}>{warning}</List.Item>
        ))}
      </List>
    </Alert>
  );
}

function BufferSection({ storage }: { storage: Schemas["Storage"] }): ReactNode {
  const { buffer } = storage;
  const used = buffer.disk_total_bytes > 0 ? 1 - buffer.disk_free_bytes / buffer.disk_total_bytes : 0;
  return (
    <Section title="Buffer">
      <Facts>
        <Fact name="On the disk">{bytesText(buffer.bytes)}</Fact>
        <Fact name="Free there">
          {bytesText(buffer.disk_free_bytes)} of {bytesText(buffer.disk_total_bytes)}
          <Progress
            value={used * 100}
            size={4}
            mt={4}
            maw={320}
            color={used >= FULL_SHARE ? "red" : "pine"}
            aria-label="Share of the disk that is used"
          />
        </Fact>
        <Fact name="Live logs">{countText(storage.logs_live)}</Fact>
        <Fact name="Damaged">
          {buffer.damaged_chunks === 0 ? (
            "nothing known"
          ) : (
            <Text span c="var(--bad)">
              {countText(buffer.damaged_chunks)} chunks; the logs that they are of say what is missing
            </Text>
          )}
        </Fact>
        <Fact name="Waited for the disk">{countText(buffer.stalls)} times since the leader started</Fact>
      </Facts>
      <Text size="xs" c="dimmed">
        To hold every log against its seal: <code>joblog verify --all</code>.
      </Text>
    </Section>
  );
}

function Stored(): ReactNode {
  const asked = useQuery({
    queryKey: ["storage"],
    queryFn: ({ signal }) => getJson<Schemas["Storage"]>("/storage", {}, signal),
    refetchInterval: every(REFRESH_MS),
  });
  const { data, refetch, dataUpdatedAt } = asked;
  const failure = useFailure(asked);
  if (asked.isPending && !failure) return <Loading label="Loading what is stored" />;
  const now = data?.time ? Date.parse(data.time) : Date.now();
  return (
    <>
      {failure ? <Failure error={failure} retry={() => void refetch()} since={dataUpdatedAt} /> : null}
      {data ? (
        <>
          <Warnings warnings={data.warnings} />
          <BufferSection storage={data} />
          <ArchiveSection archive={data.archive} now={now} />
          {data.archive ? <CostSection archive={data.archive} /> : null}
          <BackupsSection />
          <Text size="xs" c="dimmed">
            The leader started {sinceText(data.started_at, now)}.
          </Text>
        </>
      ) : null}
    </>
  );
}

export default function Storage(): ReactNode {
  useDocumentTitle("Storage · joblog");
  const session = useSession();
  const operates = session.may("leader.operate");
  const managesKeys = session.may("keys.manage");
  return (
    <Page title="Storage">
      <Stack gap="md" maw={960}>
        {operates ? <Stored /> : null}
        {managesKeys ? <KeysSection /> : null}
      </Stack>
    </Page>
  );
}
