"use strict";
// All text from logs and records goes into the page as text nodes, never as markup.
const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const namespace = query.get("namespace") || "default";
const KEPT_CHARACTERS = 2000000;
const TAIL_BYTES = 262144;

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function link(text, path, values) {
  const made = element("a", text);
  made.href = path + "?" + new URLSearchParams(values);
  return made;
}

async function ask(path) {
  const reply = await fetch(path, { cache: "no-store" });
  const body = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(body.error.message), { final: reply.status < 500 });
  return body;
}

const api = (...parts) => "/api/v1/" + parts.map(encodeURIComponent).join("/");
const logPath = (run, task, attempt) =>
  api("namespaces", namespace, "runs", run, "tasks", task, "attempts", attempt);

async function showRuns() {
  const { namespaces } = await ask("/api/v1/namespaces");
  byId("namespaces").replaceChildren(...namespaces.map((name) => link(name + " ", "/", { namespace: name })));
  const { runs } = await ask(api("namespaces", namespace, "runs") + "?limit=30");
  const rows = await Promise.all(runs.map(async (run) => {
    const { logs } = await ask(api("namespaces", namespace, "runs", run.run, "logs") + "?limit=50");
    const row = document.createElement("tr");
    const cell = document.createElement("td");
    for (const log of logs) {
      const text = log.attempt > 1 ? `${log.task}/${log.attempt}` : log.task;
      cell.append(link(text, "/log", { namespace, run: run.run, task: log.task, attempt: log.attempt }));
    }
    row.append(element("td", run.run), element("td", run.state, run.state));
    row.append(element("td", (run.created_at || "").slice(0, 19).replace("T", " ")), cell);
    return row;
  }));
  byId("runs").replaceChildren(...rows);
  byId("message").textContent = runs.length ? "" : `No runs in namespace ${namespace} yet: joblog run -- echo hello`;
}

function append(pre, node) {
  const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 40;
  pre.append(node);
  let kept = pre.textContent.length;
  while (kept > KEPT_CHARACTERS && pre.childNodes.length > 1) {
    kept -= pre.firstChild.textContent.length;
    pre.firstChild.remove();
  }
  if (atEnd) scrollTo(0, document.body.scrollHeight);
}

async function followLog() {
  const [run, task, attempt] = [query.get("run"), query.get("task"), query.get("attempt") || "latest"];
  const path = logPath(run, task, attempt);
  byId("name").textContent = `${namespace}:${run}/${task}/${attempt}`;
  byId("raw").href = path + "/raw";
  const pre = byId("log");
  const decoder = new TextDecoder();
  let from = `tail_bytes=${TAIL_BYTES}`;
  for (let failures = 0; ; ) {
    try {
      const chunk = await ask(`${path}/bytes?format=json&wait=30&${from}`);
      for (const gap of chunk.gaps) append(pre, element("span", `\n[${gap.length} bytes missing: ${gap.reason}]\n`, "note"));
      const bytes = Uint8Array.from(atob(chunk.data_base64), (character) => character.charCodeAt(0));
      if (bytes.length) append(pre, document.createTextNode(decoder.decode(bytes, { stream: true })));
      for (const event of chunk.events) append(pre, element("span", `\n[${event.kind}: ${event.message}]\n`, "note"));
      byId("status").textContent = chunk.state;
      byId("status").className = chunk.state;
      from = `offset=${chunk.next_offset}&events_seen=${chunk.events_seen}`;
      byId("message").textContent = "";
      failures = 0;
      if (chunk.state === "completed" && !bytes.length && !chunk.gaps.length) return;
    } catch (error) {
      if (error.final) throw error;
      byId("message").textContent = `${error.message}; trying again`;
      failures += 1;
      await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** failures, 15000)));
    }
  }
}

async function start() {
  if (document.body.dataset.page === "log") return followLog();
  await showRuns();
  setInterval(() => showRuns().catch((error) => { byId("message").textContent = error.message; }), 5000);
}

start().catch((error) => { byId("message").textContent = error.message; });
