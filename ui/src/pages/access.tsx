import { Alert, Tabs } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";
import { useSearchParams } from "react-router";
import styles from "../access/access.module.css";
import { Audit } from "../access/audit";
import { Certificates } from "../access/certificates";
import { Roles } from "../access/roles_panel";
import { Tokens } from "../access/tokens";
import { PageHead } from "../parts/page";
import { type Permission, useSession } from "../session";

interface Panel {
  value: string;
  label: string;
  needs: Permission | null;
  show: () => ReactNode;
}

const panels: readonly Panel[] = [
  { value: "tokens", label: "Tokens", needs: "access.manage", show: () => <Tokens /> },
  { value: "certificates", label: "Certificates", needs: "workers.manage", show: () => <Certificates /> },
  { value: "audit", label: "Audit log", needs: "audit.read", show: () => <Audit /> },
  { value: "roles", label: "Roles", needs: null, show: () => <Roles /> },
];

export default function Access(): ReactNode {
  useDocumentTitle("Access · joblog");
  const session = useSession();
  const [query, setQuery] = useSearchParams();
  const allowed = panels.filter((panel) => panel.needs === null || session.may(panel.needs));
  const asked = query.get("tab");
  const tab = allowed.find((panel) => panel.value === asked) ?? allowed[0];
  return (
    <div className={styles.page}>
      <PageHead title="Access" />
      {session.who?.kind === "open" ? (
        <Alert color="orange" m="md" mb={0} title="Access control is off">
          Whoever reaches this leader may do everything, with or without a token: <code>access.control</code> turns it
          on.
        </Alert>
      ) : null}
      <Tabs
        value={tab?.value ?? null}
        onChange={(value) => setQuery(value ? { tab: value } : {}, { replace: true })}
        keepMounted={false}
        className={styles.tabs}
      >
        <Tabs.List className={styles.list} aria-label="About access">
          {allowed.map((panel) => (
            <Tabs.Tab key={panel.value} value={panel.value}>
              {panel.label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {allowed.map((panel) => (
          <Tabs.Panel key={panel.value} value={panel.value} className={styles.panel}>
            {panel.show()}
          </Tabs.Panel>
        ))}
      </Tabs>
    </div>
  );
}
