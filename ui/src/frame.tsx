// The frame around every page: name, navigation, theme, who is logged in.

import {
  ActionIcon,
  AppShell,
  Burger,
  Group,
  NavLink,
  Text,
  Tooltip,
  UnstyledButton,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconDatabase,
  IconKey,
  IconListDetails,
  IconMoon,
  IconSearch,
  IconServer,
  IconSun,
  type TablerIcon,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, Navigate, Outlet, useLocation } from "react-router";
import { Account } from "./account";
import styles from "./frame.module.css";
import { Empty, Failure, Loading } from "./parts/states";
import { type Permission, useSession } from "./session";
import { ZoneChoice } from "./zone_choice";

interface Place {
  path: string;
  label: string;
  icon: TablerIcon;
  needs: readonly Permission[];
  /** Who has that. */
  whose: string;
}

const places: readonly Place[] = [
  {
    path: "/runs",
    label: "Runs",
    icon: IconListDetails,
    needs: ["run.see"],
    whose: "viewers, readers, operators and admins",
  },
  { path: "/search", label: "Search", icon: IconSearch, needs: ["log.read"], whose: "readers and admins" },
  {
    path: "/workers",
    label: "Workers",
    icon: IconServer,
    needs: ["workers.manage", "leader.operate"],
    whose: "operators and admins",
  },
  {
    path: "/storage",
    label: "Storage",
    icon: IconDatabase,
    needs: ["leader.operate", "keys.manage"],
    whose: "operators and admins",
  },
  {
    path: "/access",
    label: "Access",
    icon: IconKey,
    needs: ["access.manage", "workers.manage", "audit.read"],
    whose: "operators and admins",
  },
];

function ThemeToggle(): ReactNode {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark =
    colorScheme === "dark" || (colorScheme === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  const label = dark ? "Light theme" : "Dark theme";
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={label}
        onClick={() => setColorScheme(dark ? "light" : "dark")}
      >
        {dark ? <IconSun size={18} /> : <IconMoon size={18} />}
      </ActionIcon>
    </Tooltip>
  );
}

export function Frame(): ReactNode {
  const session = useSession();
  const location = useLocation();
  const [open, { toggle, close }] = useDisclosure(false);
  const main = useRef<HTMLElement>(null);
  // The link that led here may be gone with its page: who goes on by keyboard goes on in the new one.
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each change of page
  useEffect(() => {
    if (document.activeElement === document.body) main.current?.focus({ preventScroll: true });
  }, [location.pathname]);
  if (session.left !== null) return <Navigate to="/login" replace />;
  if (session.unauthenticated) {
    return (
      <Navigate to={`/login?to=${encodeURIComponent(location.pathname + location.search + location.hash)}`} replace />
    );
  }
  const shown = places.filter((place) => place.needs.some((permission) => session.may(permission)));
  const asked = places.find((place) => location.pathname.startsWith(place.path));
  return (
    <AppShell
      header={{ height: 48 }}
      navbar={{ width: 180, breakpoint: "sm", collapsed: { mobile: !open } }}
      padding={0}
    >
      <UnstyledButton className={styles.skip} onClick={() => main.current?.focus()}>
        Skip to the page
      </UnstyledButton>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
            <Text component={Link} to="/runs" fw={700} size="lg" c="inherit" td="none">
              joblog
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            {session.who && session.who.kind !== "open" ? <Account who={session.who} /> : null}
            <ZoneChoice />
            <ThemeToggle />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" component="nav" aria-label="Pages">
        {shown.map((place) => (
          <NavLink
            key={place.path}
            component={Link}
            to={place.path}
            label={place.label}
            leftSection={<place.icon size={18} aria-hidden />}
            active={location.pathname.startsWith(place.path)}
            onClick={close}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main h="100dvh" ref={main} tabIndex={-1} className={styles.main}>
        {session.loading ? (
          <Loading />
        ) : session.who && asked && !shown.includes(asked) ? (
          <Empty title="Your account may not see this">
            This page is there for {asked.whose}: ask an administrator for a role.
          </Empty>
        ) : session.who ? (
          <Outlet />
        ) : (
          <Failure error={session.error} retry={session.refresh} />
        )}
      </AppShell.Main>
    </AppShell>
  );
}
