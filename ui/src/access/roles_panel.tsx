// What roles there are.

import { Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import styles from "./access.module.css";
import { roles } from "./roles";

export function Roles(): ReactNode {
  return (
    <div className={styles.padded} tabIndex={0} role="region" aria-label="Roles">
      <Stack gap="sm" maw={900}>
        <Text size="sm">
          A token holds roles, each on some namespaces: <code>team-a</code>, <code>team-*</code>, or <code>*</code> for
          all. What is the leader's own (workers, storage, keys, the audit log) needs the role on all of them. Nobody
          can grant more than they hold.
        </Text>
        <Table verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Role</Table.Th>
              <Table.Th>May</Table.Th>
              <Table.Th>May not</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {roles.map((role) => (
              <Table.Tr key={role.name}>
                <Table.Td fw={600}>{role.name}</Table.Td>
                <Table.Td>{role.may}</Table.Td>
                <Table.Td>{role.mayNot}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Stack>
    </div>
  );
}
