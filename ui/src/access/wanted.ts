// A token that somebody fills a form in for: what is missing, and what is sent.

import type { Schemas } from "../api/client";

export interface GrantDraft {
  role: string;
  namespaces: string[];
}

export interface Draft {
  name: string;
  grants: GrantDraft[];
  workerId: string;
  lifetimeSeconds: string;
  gibPerDay: number;
  gibStored: number;
  liveLogs: number;
  requestsPerSecond: number;
}

export const noQuotas = { gibPerDay: 0, gibStored: 0, liveLogs: 0, requestsPerSecond: 0 } as const;

export const emptyDraft: Draft = {
  name: "",
  grants: [{ role: "reader", namespaces: ["*"] }],
  workerId: "",
  lifetimeSeconds: "2592000",
  ...noQuotas,
};

const DAY = 86_400;

export const lifetimes = [
  { value: String(3_600), label: "an hour" },
  { value: String(DAY), label: "a day" },
  { value: String(7 * DAY), label: "a week" },
  { value: String(30 * DAY), label: "30 days" },
  { value: String(90 * DAY), label: "90 days" },
  { value: String(365 * DAY), label: "a year" },
  { value: "0", label: "for ever" },
];

const GIB = 2 ** 30;
const GLOB = /^[A-Za-z0-9._\-:+=~@*?[\]!]{1,250}$/;

export interface Problems {
  name?: string;
  grants?: string;
}

/** What has to be mended before it can be sent; the leader looks at all of it again. */
export function problemsOf(draft: Draft): Problems {
  const problems: Problems = {};
  if (draft.name.trim() === "") problems.name = "Say what it is for";
  else if (draft.name.trim().length > 100) problems.name = "At most 100 characters";
  if (draft.grants.some((grant) => grant.namespaces.length === 0))
    problems.grants = "Name a namespace for each role; * stands for all";
  const bad = draft.grants.flatMap((grant) => grant.namespaces).find((glob) => !GLOB.test(glob));
  if (bad !== undefined) problems.grants = `${bad} is neither a namespace nor a pattern with * ? [abc]`;
  return problems;
}

export function wantedOf(draft: Draft): Schemas["TokenWanted"] {
  return {
    name: draft.name.trim(),
    grants: draft.grants.map((grant) => ({ role: grant.role, namespaces: grant.namespaces })),
    worker_id: draft.workerId.trim(),
    lifetime_seconds: Number(draft.lifetimeSeconds),
    quota: {
      bytes_per_day: Math.round(draft.gibPerDay * GIB),
      stored_bytes: Math.round(draft.gibStored * GIB),
      live_logs: Math.round(draft.liveLogs),
      requests_per_second: Math.round(draft.requestsPerSecond),
    },
    address: "",
  };
}
