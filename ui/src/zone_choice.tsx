// In which time zone times are shown: that of the browser, UTC, or any other one by its name.

import { Button, Popover, Select, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconWorld } from "@tabler/icons-react";
import { type ReactNode, useMemo, useState } from "react";
import { allZones, chooseZone, isZone, LOCAL, localZone, useZone } from "./parts/zone";

/** More at once are nothing to choose from; what is typed brings the others. */
const LISTED = 60;

/** more: a name that need not be listed, as an older one of a zone. */
function choices(more: string): { value: string; label: string }[] {
  const zones = allZones();
  const named = more.includes("/") && isZone(more) && !zones.includes(more) ? [...zones, more] : zones;
  return [
    { value: LOCAL, label: `Local time (${localZone()})` },
    ...named.map((zone) => ({ value: zone, label: zone.replaceAll("_", " ") })),
  ];
}

export function ZoneChoice(): ReactNode {
  const zone = useZone();
  const [open, { toggle, close }] = useDisclosure(false);
  const [typed, setTyped] = useState("");
  const data = useMemo(() => choices(typed.trim().replaceAll(" ", "_") || zone), [typed, zone]);
  const name = zone === LOCAL ? "local" : zone.replaceAll("_", " ");
  return (
    <Popover opened={open} onChange={close} position="bottom-end" width={280} trapFocus returnFocus withRoles={false}>
      <Popover.Target>
        <Button
          variant="subtle"
          color="gray"
          size="compact-sm"
          fw={400}
          maw={200}
          px={6}
          aria-label={`Time zone: ${name}`}
          aria-haspopup="dialog"
          aria-expanded={open}
          leftSection={<IconWorld size={18} aria-hidden />}
          onClick={toggle}
        >
          {zone === LOCAL ? null : (
            <Text span size="sm" truncate visibleFrom="xs">
              {name}
            </Text>
          )}
        </Button>
      </Popover.Target>
      <Popover.Dropdown role="dialog" aria-label="Time zone">
        <Select
          label="Show times in"
          description="Kept in this browser"
          data-autofocus
          searchable
          allowDeselect={false}
          limit={LISTED}
          nothingFoundMessage="No time zone is called this"
          data={data}
          value={zone}
          onSearchChange={setTyped}
          comboboxProps={{ withinPortal: false }}
          onChange={(value) => {
            chooseZone(value ?? LOCAL);
            close();
          }}
        />
      </Popover.Dropdown>
    </Popover>
  );
}
