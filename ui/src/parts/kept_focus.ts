// The focus of a list whose entries come and go.

import { type FocusEvent, type RefObject, useEffect, useRef } from "react";

/** Gives the focus to a list when what had it in there is gone, and nothing else has it. Goes onto the list's element. */
export function useKeptFocus(list: RefObject<HTMLElement | null>, entries: unknown): (event: FocusEvent) => void {
  const had = useRef<Element | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: looked at whenever entries have changed
  useEffect(() => {
    if (had.current === null || had.current.isConnected || document.activeElement !== document.body) return;
    had.current = null;
    list.current?.focus({ preventScroll: true });
  }, [entries]);
  return (event) => {
    had.current = event.target;
  };
}
