// Acts that change something: asked first, and said what came of them.

import { Button, type ButtonProps, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { type QueryKey, useMutation, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";

interface Question {
  title: string;
  text: ReactNode;
  /** What the button says: the act, in a word or two. */
  act: string;
  dangerous?: boolean;
}

/** Gives the focus back to what opened the menu that has it: a dialog gives it back there, and the item will be gone. */
export function leaveMenu(): void {
  const menu = document.activeElement?.closest('[role="menu"]');
  document.getElementById(menu?.getAttribute("aria-labelledby") ?? "")?.focus();
}

/** Asks; calls `then` only on a yes. */
export function ask(question: Question, then: () => void): void {
  leaveMenu();
  modals.openConfirmModal({
    title: question.title,
    children: (
      <Text size="sm" component="div">
        {question.text}
      </Text>
    ),
    labels: { confirm: question.act, cancel: "Cancel" },
    confirmProps: question.dangerous ? { color: "red.8" } : {},
    cancelProps: { "data-autofocus": true },
    closeButtonProps: { "aria-label": "Close" },
    onConfirm: then,
  });
}

export function say(message: string, failed = false): void {
  notifications.show({ message, color: failed ? "red" : "green", autoClose: failed ? 15_000 : 6_000 });
}

/** An act: what it does, what to say when it is done, and which queries it makes old. */
export function useAct<Input, Output>(act: {
  run: (input: Input) => Promise<Output>;
  done: (output: Output, input: Input) => string;
  outdated: readonly QueryKey[];
}): { start: (input: Input) => void; running: boolean } {
  const queries = useQueryClient();
  const mutation = useMutation({
    mutationFn: act.run,
    onSuccess: (output, input) => say(act.done(output, input)),
    onError: (error) => say(error.message, true),
    onSettled: () => {
      for (const queryKey of act.outdated) void queries.invalidateQueries({ queryKey });
    },
  });
  return { start: mutation.mutate, running: mutation.isPending };
}

/** A button of an act. It does nothing while that is under way, and keeps the focus, which a disabled one would lose. */
export function ActButton({
  busy,
  onClick,
  ...rest
}: ButtonProps & { busy: boolean; onClick: () => void; "aria-label"?: string; children: ReactNode }): ReactNode {
  return <Button {...rest} {...resting(busy)} onClick={() => (busy ? undefined : onClick())} />;
}

/** What makes a button look and sound as if it were disabled. */
export function resting(busy: boolean): { "aria-disabled"?: true; "data-disabled"?: true } {
  return busy ? { "aria-disabled": true, "data-disabled": true } : {};
}
