// What stands above a log: what it is, and what can be done with it.

import {
  ActionIcon,
  Anchor,
  Badge,
  Button,
  Group,
  Menu,
  ScrollArea,
  Select,
  Switch,
  Text,
  Tooltip,
} from "@mantine/core";
import {
  IconAlertCircle,
  IconAlertTriangle,
  IconChevronDown,
  IconChevronsDown,
  IconChevronUp,
  IconCopy,
  IconDownload,
  IconFold,
  IconHelp,
  IconInfoCircle,
  IconPlayerPause,
  IconPlayerPlay,
  IconSearch,
} from "@tabler/icons-react";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { apiUrl, type FoundMark, type Log, type LogId, logPath } from "../api/client";
import { LogState } from "../parts/badges";
import { clockText } from "../parts/format";
import { runUrl } from "../parts/links";
import { UTC, useZone } from "../parts/zone";
import type { StreamName } from "./lines";
import type { Selection } from "./selection";
import { visible } from "./text";
import { type TimeStyle, timeStyles } from "./time";
import styles from "./toolbar.module.css";

export type Panel = "search" | "about" | null;

export interface ToolbarProps {
  id: LogId;
  log: Log;
  /** Since when the leader does not answer; null: it does. */
  goneAt: number | null;
  running: boolean;
  live: boolean;
  /** Lines that came while it was paused. */
  unseen: number;
  problems: readonly FoundMark[];
  groups: number;
  folded: number;
  stream: StreamName | null;
  times: TimeStyle;
  wrap: boolean;
  panel: Panel;
  selection: Selection | null;
  onLive: (live: boolean) => void;
  onJump: (step: 1 | -1) => void;
  onShow: (line: number) => void;
  onFoldAll: (fold: boolean) => void;
  onStream: (stream: StreamName | null) => void;
  onTimes: (times: TimeStyle) => void;
  onWrap: (wrap: boolean) => void;
  onPanel: (panel: Panel) => void;
  onCopy: (numbers: boolean) => void;
  onSave: () => void;
  onEnd: () => void;
  onHelp: () => void;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** An icon that does something, with its name and its key. */
function Act(props: {
  label: string;
  hint: string;
  icon: ReactNode;
  pressed?: boolean;
  onClick: () => void;
}): ReactNode {
  return (
    <Tooltip label={props.hint}>
      <ActionIcon
        variant={props.pressed ? "light" : "subtle"}
        color="gray"
        aria-label={props.label}
        aria-pressed={props.pressed}
        onClick={props.onClick}
      >
        {props.icon}
      </ActionIcon>
    </Tooltip>
  );
}

/** More of them are too many to choose from; the keys go through all. */
const LISTED_PROBLEMS = 200;

function Problems({ problems, onJump, onShow }: Pick<ToolbarProps, "problems" | "onJump" | "onShow">): ReactNode {
  if (problems.length === 0) return null;
  const errors = problems.filter((mark) => mark.kind === "error").length;
  const listed = problems.slice(0, LISTED_PROBLEMS);
  return (
    <Group gap={2} wrap="nowrap">
      <Menu width={420} position="bottom-end">
        <Menu.Target>
          <Button
            size="compact-xs"
            variant="light"
            color={errors > 0 ? "red" : "yellow"}
            leftSection={
              errors > 0 ? <IconAlertCircle size={14} aria-hidden /> : <IconAlertTriangle size={14} aria-hidden />
            }
          >
            {errors > 0 ? counted(errors, "error") : counted(problems.length, "warning")}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <ScrollArea.Autosize mah={360} type="auto">
            {listed.map((mark) => (
              <Menu.Item
                key={mark.line}
                py={4}
                leftSection={
                  mark.kind === "error" ? (
                    <IconAlertCircle size={14} color="var(--mantine-color-red-text)" aria-label="Error" />
                  ) : (
                    <IconAlertTriangle size={14} color="var(--mantine-color-yellow-text)" aria-label="Warning" />
                  )
                }
                onClick={() => onShow(mark.line)}
              >
                <span className={styles.problem}>
                  <Text span size="xs" c="dimmed">
                    {mark.line}
                  </Text>
                  <bdi className={styles.title}>{visible(mark.title)}</bdi>
                </span>
              </Menu.Item>
            ))}
            {problems.length > listed.length ? (
              <Menu.Label>{`and ${problems.length - listed.length} more`}</Menu.Label>
            ) : null}
          </ScrollArea.Autosize>
        </Menu.Dropdown>
      </Menu>
      <Act
        label="Previous error or warning"
        hint="Previous (p)"
        icon={<IconChevronUp size={16} />}
        onClick={() => onJump(-1)}
      />
      <Act
        label="Next error or warning"
        hint="Next (n)"
        icon={<IconChevronDown size={16} />}
        onClick={() => onJump(1)}
      />
    </Group>
  );
}

function CopyMenu({ onCopy }: Pick<ToolbarProps, "onCopy">): ReactNode {
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Copy the selected lines">
          <IconCopy size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => onCopy(false)}>Copy lines</Menu.Item>
        <Menu.Item onClick={() => onCopy(true)}>Copy lines with numbers</Menu.Item>
        <Menu.Item onClick={() => void navigator.clipboard.writeText(window.location.href)}>Copy link</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function DownloadMenu({ id, selection, onSave }: Pick<ToolbarProps, "id" | "selection" | "onSave">): ReactNode {
  const raw = `${logPath(id)}/raw`;
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Download">
          <IconDownload size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component="a" href={apiUrl(raw)} download>
          Download
        </Menu.Item>
        <Menu.Item component="a" href={apiUrl(raw, { gz: true })} download>
          Download as .gz
        </Menu.Item>
        <Menu.Item onClick={onSave} disabled={selection === null}>
          Download selected lines
        </Menu.Item>
        <Menu.Item component="a" href={apiUrl(raw, { inline: true })} target="_blank" rel="noopener">
          Open as text
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

const streams = [
  { value: "", label: "Both streams" },
  { value: "stdout", label: "stdout" },
  { value: "stderr", label: "stderr" },
];

export function Toolbar(props: ToolbarProps): ReactNode {
  const { id, log, running, live, unseen, panel } = props;
  const zone = useZone();
  const toggle = (one: Panel): void => props.onPanel(panel === one ? null : one);
  return (
    <Group className={styles.head} gap="xs" wrap="wrap">
      <h1 className={styles.name} title={`${id.namespace}:${id.run}/${id.task}/${log.attempt}`}>
        <Anchor component={Link} inherit fw={400} to={runUrl(id)} truncate>
          {id.run}
        </Anchor>
        <Text span inherit c="dimmed" fw={400}>
          /
        </Text>
        <Text span inherit fw={600} truncate>
          {id.task}
        </Text>
        <Text span inherit c="dimmed">
          #{log.attempt}
        </Text>
      </h1>
      <LogState log={log} />
      {props.goneAt !== null ? (
        <Badge color="red" variant="light" tt="none" role="status">
          Leader not reached since {clockText(props.goneAt)}, trying again
        </Badge>
      ) : null}
      {running ? (
        <Button
          size="compact-sm"
          variant={live ? "light" : "filled"}
          onClick={() => props.onLive(!live)}
          leftSection={live ? <IconPlayerPause size={14} aria-hidden /> : <IconPlayerPlay size={14} aria-hidden />}
        >
          {live ? "Live" : unseen > 0 ? `Paused · ${unseen} new` : "Paused"}
        </Button>
      ) : null}
      <span className={styles.space} />
      <Problems problems={props.problems} onJump={props.onJump} onShow={props.onShow} />
      {props.groups > 0 ? (
        <Act
          label={props.folded > 0 ? "Unfold all groups" : "Fold all groups"}
          hint={props.folded > 0 ? "Unfold all (u)" : "Fold all (f)"}
          icon={<IconFold size={18} />}
          onClick={() => props.onFoldAll(props.folded === 0)}
        />
      ) : null}
      <Select
        size="xs"
        w={128}
        aria-label="Streams"
        data={streams}
        value={props.stream ?? ""}
        allowDeselect={false}
        onChange={(value) => props.onStream(value === "stdout" || value === "stderr" ? value : null)}
      />
      <Select
        size="xs"
        w={142}
        aria-label="Times"
        data={timeStyles(zone)}
        value={props.times === "utc" && zone === UTC ? "clock" : props.times}
        allowDeselect={false}
        onChange={(value) => props.onTimes((value ?? "none") as TimeStyle)}
      />
      <Switch
        size="xs"
        label="Wrap"
        checked={props.wrap}
        onChange={(event) => props.onWrap(event.currentTarget.checked)}
      />
      <Group gap={2} wrap="nowrap">
        <Act
          label="Search in this log"
          hint="Search (/)"
          icon={<IconSearch size={18} />}
          pressed={panel === "search"}
          onClick={() => toggle("search")}
        />
        {props.selection !== null ? <CopyMenu onCopy={props.onCopy} /> : null}
        <DownloadMenu id={id} selection={props.selection} onSave={props.onSave} />
        <Act label="To the end" hint="To the end (G)" icon={<IconChevronsDown size={18} />} onClick={props.onEnd} />
        <Act
          label="About this log"
          hint="About this log (i)"
          icon={<IconInfoCircle size={18} />}
          pressed={panel === "about"}
          onClick={() => toggle("about")}
        />
        <span className={styles.keys}>
          <Act label="Keys" hint="Keys (?)" icon={<IconHelp size={18} />} onClick={props.onHelp} />
        </span>
      </Group>
    </Group>
  );
}
