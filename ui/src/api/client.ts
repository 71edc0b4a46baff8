// Requests to the leader: JSON, bytes and lines of JSON, with its errors as one class.

import type { components } from "./schema";

export type Schemas = components["schemas"];
export type Run = Schemas["Run"];
export type Runs = Schemas["Runs"];
export type Log = Schemas["Log"];
export type Logs = Schemas["Logs"];
export type Gap = Schemas["Gap"];
export type LogEvent = Schemas["Event"];
export type Chunk = Schemas["Chunk"];
export type SearchReport = Schemas["SearchReport"];
export type FoundHit = Schemas["FoundHit"];
export type FoundLine = Schemas["FoundLine"];
export type MarksReport = Schemas["MarksReport"];
export type FoundMark = Schemas["FoundMark"];
export type Status = Schemas["Status"];

export type Parameter = string | number | boolean | readonly string[] | null | undefined;
export type Parameters = Record<string, Parameter>;

/** What the leader, or the network, said no with. status is 0 where nobody answered. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  get offline(): boolean {
    return this.status === 0;
  }

  /** Whether asking again later may help. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || (this.status >= 500 && this.status !== 501);
  }
}

/** Where the UI lies: "/" or, behind a proxy, "/prefix/". */
export const basePath = new URL(".", document.baseURI).pathname;

export function apiUrl(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === "") continue;
    if (typeof value === "object") for (const one of value) query.append(name, one);
    else query.append(name, String(value));
  }
  const text = query.toString();
  return `${basePath}api/v1${path}${text ? `?${text}` : ""}`;
}

export interface LogId {
  namespace: string;
  run: string;
  task: string;
  attempt: number | "latest";
}

const segment = encodeURIComponent;

export function runPath(namespace: string, run: string): string {
  return `/namespaces/${segment(namespace)}/runs/${segment(run)}`;
}

export function logPath(id: LogId): string {
  return `${runPath(id.namespace, id.run)}/tasks/${segment(id.task)}/attempts/${id.attempt}`;
}

type UnauthenticatedListener = () => void;
let onUnauthenticated: UnauthenticatedListener = () => {};

/** Called whenever the leader does not know who asks. */
export function whenUnauthenticated(listener: UnauthenticatedListener): void {
  onUnauthenticated = listener;
}

async function problemOf(response: Response): Promise<ApiError> {
  let code = "UNKNOWN";
  let message = `the leader answered with status ${response.status}`;
  try {
    const body = (await response.json()) as { error?: { code?: string; message?: string } };
    code = body.error?.code ?? code;
    message = body.error?.message ?? message;
  } catch {
    // Not the leader's own words: a proxy's, perhaps.
  }
  return new ApiError(response.status, code, message);
}

async function send(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "UNAVAILABLE", "the leader can't be reached");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) onUnauthenticated();
  throw problem;
}

export async function getJson<T>(path: string, parameters: Parameters = {}, signal?: AbortSignal): Promise<T> {
  const response = await send(apiUrl(path, parameters), signal ? { signal } : {});
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    // Cut off on its way, or what a proxy says in the leader's place.
    throw new ApiError(0, "UNAVAILABLE", "the leader's answer did not come whole");
  }
}

/** Changes something: the body goes and the reply comes as JSON; null where the reply has none. */
export async function sendJson<T>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
  // No page of another origin can have a browser send this header: it shows that the UI itself asks.
  const headers: Record<string, string> = { "Joblog-Request": "1" };
  const init: RequestInit = { method, headers };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const response = await send(apiUrl(path), init);
  const text = await response.text();
  return (text ? JSON.parse(text) : null) as T;
}

/** Lines of JSON as they come in. Ends with the reply; aborting the signal ends it early. */
export async function* streamJson<T>(path: string, parameters: Parameters, signal: AbortSignal): AsyncGenerator<T> {
  const response = await send(apiUrl(path, parameters), { signal });
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line) yield JSON.parse(line) as T;
    }
    if (rest) yield JSON.parse(rest) as T;
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
    throw new ApiError(0, "UNAVAILABLE", "the connection to the leader broke off");
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The bytes of a chunk. */
export function bytesOf(chunk: Chunk): Uint8Array {
  const binary = atob(chunk.data_base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}
