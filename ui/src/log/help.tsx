// The keys of the log page.

import { Kbd, Modal, Table } from "@mantine/core";
import type { ReactNode } from "react";

const keys: readonly (readonly [string, readonly string[]])[] = [
  ["To the end, and live where the task still runs", ["End", "Shift G"]],
  ["To the start", ["g"]],
  ["Live or paused", ["Space"]],
  ["Scroll", ["↑", "↓", "Page Up", "Page Down"]],
  ["Next line's number, previous one (after Tab to one)", ["↓", "↑"]],
  ["Select that line, or all up to it", ["Enter", "Shift Enter"]],
  ["Next error or warning, previous one", ["n", "p"]],
  ["Search in this log", ["/", "Ctrl F"]],
  ["Next hit, previous one (in the search field)", ["↓", "↑"]],
  ["Wrap long lines", ["w"]],
  ["Fold all groups, unfold all", ["f", "u"]],
  ["Copy the selected lines", ["c"]],
  ["About this log", ["i"]],
  ["These keys", ["?"]],
];

export function Help({ opened, onClose }: { opened: boolean; onClose: () => void }): ReactNode {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="md" closeButtonProps={{ "aria-label": "Close" }}>
      <Table>
        <Table.Tbody>
          {keys.map(([what, names]) => (
            <Table.Tr key={what}>
              <Table.Td>{what}</Table.Td>
              <Table.Td ta="right">
                {names.map((name) => (
                  <Kbd key={name} ml={4}>
                    {name}
                  </Kbd>
                ))}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      A click on a line's number selects it; with Shift, all lines up to there. The address then names them.
    </Modal>
  );
}
