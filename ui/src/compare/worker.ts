// Compares in a thread of its own, so that the page does not freeze.

import { type Comparison, compare } from "./lines";

export interface Asked {
  left: string;
  right: string;
  ignore: boolean;
}

export type Answered = { comparison: Comparison } | { error: string };

self.onmessage = (event: MessageEvent<Asked>): void => {
  const { left, right, ignore } = event.data;
  let answered: Answered;
  try {
    answered = { comparison: compare(left, right, ignore) };
  } catch (error) {
    answered = { error: error instanceof Error ? error.message : String(error) };
  }
  self.postMessage(answered);
};
