// What to search for, in which runs, and what to show of it.

import { Button, Checkbox, Group, MultiSelect, NumberInput, Select, TextInput } from "@mantine/core";
import type { FormEvent, ReactNode } from "react";
import { MAX_CONTEXT_LINES } from "../log/found_text";
import { PeriodSelect } from "../parts/period";
import styles from "./search.module.css";
import { MAX_HITS, MAX_RUNS, type Wanted } from "./wanted";

const streams = [
  { value: "", label: "Both streams" },
  { value: "stdout", label: "stdout" },
  { value: "stderr", label: "stderr" },
];

interface FieldsProps {
  wanted: Wanted;
  change: (changes: Partial<Wanted>) => void;
}

/** Which runs: of some time, the last so many, by name, label and state. */
function RunFields({ wanted, change }: FieldsProps): ReactNode {
  return (
    <>
      <PeriodSelect label="in runs of" period={wanted.period} onChange={(period) => change({ period })} />
      <NumberInput
        label="the last"
        placeholder="All runs"
        min={1}
        max={MAX_RUNS}
        allowDecimal={false}
        allowNegative={false}
        suffix=" runs"
        value={wanted.last}
        onChange={(last) => change({ last })}
        w={130}
      />
      <MultiSelect
        label="that are"
        placeholder={wanted.states.length === 0 ? "In any state" : ""}
        data={["live", "succeeded", "failed", "interrupted"]}
        value={[...wanted.states]}
        onChange={(states) => change({ states })}
        w={160}
      />
      <TextInput
        label="with name or label"
        placeholder="Any"
        maxLength={250}
        value={wanted.runText}
        onChange={(event) => change({ runText: event.currentTarget.value })}
        w={160}
      />
    </>
  );
}

function LineFields({ wanted, change }: FieldsProps): ReactNode {
  return (
    <>
      <Select
        label="by"
        data={streams}
        value={wanted.stream}
        allowDeselect={false}
        onChange={(stream) => change({ stream: stream ?? "" })}
        w={150}
      />
      <NumberInput
        label="Lines per log"
        placeholder="All"
        min={1}
        max={MAX_HITS}
        allowDecimal={false}
        value={wanted.each}
        onChange={(each) => change({ each })}
        w={110}
      />
      <NumberInput
        label="Lines around"
        min={0}
        max={MAX_CONTEXT_LINES}
        allowDecimal={false}
        value={wanted.around}
        onChange={(around) => change({ around })}
        w={110}
      />
    </>
  );
}

function Switches({ wanted, change }: FieldsProps): ReactNode {
  return (
    <>
      <Checkbox
        size="xs"
        label="Regular expression"
        checked={wanted.regex}
        onChange={(event) => change({ regex: event.currentTarget.checked })}
      />
      <Checkbox
        size="xs"
        label="Match case"
        checked={wanted.matchCase}
        onChange={(event) => change({ matchCase: event.currentTarget.checked })}
      />
    </>
  );
}

/** children: what stands beside the switches. place: where to search, if there is a choice. */
export function SearchForm({
  wanted,
  change,
  place,
  running,
  onStart,
  onStop,
  children,
}: FieldsProps & {
  place: { namespaces: readonly string[]; namespace: string; choose: (namespace: string | null) => void } | null;
  running: boolean;
  onStart: () => void;
  onStop: () => void;
  children: ReactNode;
}): ReactNode {
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    onStart();
  };
  return (
    <form onSubmit={submit}>
      <Group gap="sm" align="flex-end" wrap="wrap">
        <TextInput
          className={styles.text}
          autoFocus
          label="Which logs say"
          placeholder={wanted.regex ? "Regular expression (RE2)" : "Text"}
          maxLength={1000}
          value={wanted.text}
          onChange={(event) => change({ text: event.currentTarget.value })}
        />
        {place ? (
          <>
            <Select
              label="in namespace"
              searchable
              allowDeselect={false}
              data={[...place.namespaces]}
              value={place.namespace}
              onChange={place.choose}
              w={160}
            />
            <RunFields wanted={wanted} change={change} />
          </>
        ) : null}
        <LineFields wanted={wanted} change={change} />
        {/* Two buttons: one that became the other would submit the form with the click that stopped. */}
        {running ? (
          <Button key="stop" variant="default" onClick={onStop}>
            Stop
          </Button>
        ) : (
          <Button key="start" type="submit">
            Search
          </Button>
        )}
      </Group>
      <Group gap="md" mt="xs">
        <Switches wanted={wanted} change={change} />
        {children}
      </Group>
    </form>
  );
}
