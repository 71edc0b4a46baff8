"""`joblog verify`: whether logs are complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace, open_client, parse_target
from joblog.cli.output import bytes_progress, err, out, print_json
from joblog.cli.words import as_dict, log_state, printable
from joblog.client import Client, log_name
from joblog.errors import InvalidInput, NotFound
from joblog.formats import gap_reason
from joblog.identity import LogName
from joblog.uncounted import uncounted
from joblog.v1 import logs_pb2, types_pb2

PROBLEMS_EXIT_CODE = 1


def verify(
    path: Annotated[str | None, typer.Argument(metavar="[RUN[/TASK[/ATTEMPT]]]", help="What to verify.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Verify every log of every namespace.")] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Read logs whole and hold them against their seals: length, SHA-256, lines, gaps.

    Exit code 0: all are complete, byte for byte what the tasks wrote; adopted ones, of which no writer says that they
    were complete, are unchanged since they were adopted. 1: bytes are missing, damaged, or still to come;
    also where seal or events say that some are missing and the rest is as it was (`sound` in JSON).
    A log that is still being written is no problem with --all, where it is only mentioned.
    """
    if (path is None) is not everything:
        raise InvalidInput("name what to verify: RUN, RUN/TASK, RUN/TASK/ATTEMPT, or --all")
    with open_client(leader, data_dir) as client:
        records = _all_logs(client) if path is None else _named_logs(client, parse_target(path, namespace))
        good = True
        verdicts = []
        with bytes_progress() as progress:
            for record in records:
                verdict = _verify_one(client, record, progress)
                good = good and (
                    verdict["complete"] or verdict["unchanged"] or (everything and verdict["state"] == "live")
                )
                verdicts.append(verdict)
                if not as_json:
                    _print_verdict(verdict)
    if as_json:
        print_json(verdicts)
    elif not verdicts:
        err.print("nothing to verify: no logs")
    if not good:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


def _all_logs(client: Client) -> Iterator[types_pb2.LogRecord]:
    for namespace in client.namespaces():
        for run in client.runs(namespace):
            yield from client.logs(run.run, namespace)


def _named_logs(client: Client, target: LogName) -> Iterator[types_pb2.LogRecord]:
    found = False
    for record in client.logs(target.run, target.namespace, task=target.task):
        if target.attempt in (0, record.id.attempt):
            found = True
            yield record
    if not found:
        raise NotFound(f"no log {target} is there: `joblog ls {target.run}` lists what is")


def _verify_one(client: Client, record: types_pb2.LogRecord, progress: Progress) -> dict[str, Any]:
    name = log_name(record.id)
    state = log_state(record.state)
    verdict: dict[str, Any] = {
        "log": str(name),
        "state": state,
        "complete": False,
        "unchanged": False,
        "sound": False,
        "problems": [],
    }
    if record.state != types_pb2.LOG_STATE_COMPLETED:
        verdict["problems"] = [f"the log is {state}: its end has not come yet, {record.next_offset:,} bytes so far"]
        return verdict
    bar: TaskID = progress.add_task(f"{name.run}/{name.task}", total=record.next_offset)
    last = logs_pb2.VerifyResponse()
    for last in client.verify(name):
        progress.update(bar, completed=last.bytes_done, total=last.bytes_total or None)
    progress.remove_task(bar)
    problems = list(last.problems)
    if not last.done:
        problems.append("the leader ended without a verdict")
    sound = last.done and (last.complete or last.unchanged) and not problems
    gaps = last.found.gaps or last.expected.gaps
    missing = uncounted(client.log(name).events)
    verdict.update(
        sound=sound,
        complete=sound and last.complete and not gaps and not missing,
        unchanged=sound and last.unchanged,
        problems=problems,
        expected=as_dict(last.expected),
        found=as_dict(last.found),
    )
    verdict["gaps"] = [_gap_text(gap) for gap in gaps]
    verdict["missing"] = [f"at offset {event.offset}: {event.message}" for event in missing]
    return verdict


def _gap_text(gap: types_pb2.Gap) -> str:
    return f"{gap.length:,} bytes missing at offset {gap.offset}: {gap_reason(gap.reason)}"


def _print_verdict(verdict: dict[str, Any]) -> None:
    word = "[green]complete[/green]" if verdict["complete"] else "[red]NOT COMPLETE[/red]"
    if verdict["sound"] and not verdict["complete"]:
        word = "[yellow]not complete, as its record says[/yellow]"
    if verdict["unchanged"]:
        word = "[green]unchanged since it was adopted[/green]; that it was complete then, no writer's seal says"
    if verdict["state"] == "live":
        word = "[cyan]live[/cyan]"
    out.print(f"{verdict['log']}: {word}")
    found = verdict.get("found")
    if found:
        sha256 = found["sha256"] or "not known"
        gaps = verdict["gaps"]
        out.print(f"  {found['length']:,} bytes, {found['newlines']:,} lines, {len(gaps)} gaps, sha256 {sha256}")
        for gap in gaps:
            out.print(f"  gap: {gap}")
        for text in verdict["missing"]:
            out.print(f"  missing: {printable(text)}", markup=False)
    for problem in verdict["problems"]:
        out.print(f"  {printable(problem)}", markup=False)
