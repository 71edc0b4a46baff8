// Who is signed in here, with which roles, and signing out.

import { Button, Menu, Text } from "@mantine/core";
import { IconLogout, IconUserCircle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { type Schemas, sendJson } from "./api/client";
import { useAct } from "./parts/act";
import { momentText } from "./parts/format";
import { useSession, type WhoAmI } from "./session";

export function Account({ who }: { who: WhoAmI }): ReactNode {
  const session = useSession();
  const signOut = useAct({
    run: () => sendJson<Schemas["SignedOut"]>("DELETE", "/session"),
    done: (gone) => {
      session.leave(gone.provider_url);
      return "You are signed out";
    },
    outdated: [],
  });
  return (
    <Menu position="bottom-end" width={260}>
      <Menu.Target>
        <Button
          variant="subtle"
          color="gray"
          size="compact-sm"
          fw={400}
          maw={220}
          leftSection={<IconUserCircle size={18} aria-hidden />}
          aria-label={`Account: ${who.name}`}
        >
          <Text span size="sm" truncate visibleFrom="xs">
            {who.name}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {who.name}
          {who.grants.map((grant) => (
            <div key={`${grant.role} ${grant.namespaces.join(" ")}`}>
              {grant.role} on {grant.namespaces.includes("*") ? "all namespaces" : grant.namespaces.join(", ")}
            </div>
          ))}
          {who.expires_at ? <div>until {momentText(who.expires_at)}</div> : null}
        </Menu.Label>
        <Menu.Item leftSection={<IconLogout size={14} aria-hidden />} onClick={() => signOut.start(undefined)}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
