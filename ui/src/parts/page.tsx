// The frame of a page that scrolls as a whole, sections on it, and facts in them.

import { Group, Paper, Stack, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";
import styles from "./page.module.css";

export function PageHead({ title, children }: { title: string; children?: ReactNode }): ReactNode {
  return (
    <Group className={styles.head} gap="sm" wrap="wrap" mih={47}>
      <Title order={1} size="h4">
        {title}
      </Title>
      {children}
    </Group>
  );
}

export function Page({ title, head, children }: { title: string; head?: ReactNode; children: ReactNode }): ReactNode {
  return (
    <div className={styles.page}>
      <PageHead title={title}>{head}</PageHead>
      <div className={styles.content} tabIndex={0} role="region" aria-label={title}>
        {children}
      </div>
    </div>
  );
}

export function Section({
  title,
  acts,
  children,
}: {
  title: string;
  acts?: ReactNode;
  children: ReactNode;
}): ReactNode {
  const id = useId();
  return (
    <Paper withBorder p="md" component="section" aria-labelledby={id}>
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Title order={2} size="h5" id={id}>
            {title}
          </Title>
          {acts}
        </Group>
        {children}
      </Stack>
    </Paper>
  );
}

export function Facts({ children }: { children: ReactNode }): ReactNode {
  return <dl className={styles.facts}>{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <div className={styles.fact}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
