"""`joblog retention`: how long logs are kept, and what goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.markup import escape

from joblog.cli.deleting import path_text
from joblog.cli.listing import kept_facts
from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace, open_client, parse_target
from joblog.cli.output import err, out, print_json, print_table, table
from joblog.cli.words import as_dict, bytes_text, duration_text, printable, run_state, time_text
from joblog.errors import InvalidInput, Unavailable
from joblog.replies import error_from
from joblog.v1 import retention_pb2, retention_pb2_grpc
from joblog.values import parse_duration

app = typer.Typer(name="retention", help="How long logs are kept, and what goes.", no_args_is_help=True)

_SECONDS = 30.0


@app.callback()
def root() -> None:
    """How long logs are kept, and what goes."""


@contextmanager
def retention_stub(leader: str | None, data_dir: Path | None) -> Iterator[Any]:
    """A stub of the service Retention. Raises an error of joblog for each of gRPC's."""
    with open_client(leader, data_dir) as client:
        try:
            yield client.stub(retention_pb2_grpc.RetentionStub)
        except grpc.RpcError as error:
            raise error_from(error, client.leader) from None


@app.command()
def show(
    path: Annotated[str | None, typer.Argument(metavar="[RUN]", help="How long this run is kept.")] = None,
    *,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Print the policies in force, what the last pass deleted and what waits; or how long a run is kept."""
    if path is not None:
        target = parse_target(path, namespace)
        if target.task:
            raise InvalidInput(f"{path_text(target)}: a run's logs go together: name the run alone")
        with open_client(leader, data_dir) as client:
            run = client.run(target.run, target.namespace)
        if as_json:
            print_json(as_dict(run.kept))
        else:
            for name, value in kept_facts(run.kept):
                out.print(f"[bold]{name:<12}[/bold] {escape(printable(value))}")
        return
    with retention_stub(leader, data_dir) as stub:
        found: retention_pb2.GetRetentionResponse = stub.GetRetention(
            retention_pb2.GetRetentionRequest(), timeout=_SECONDS
        )
    if as_json:
        print_json(as_dict(found))
        return
    for policy in found.policies:
        out.print(printable(policy), markup=False)
    for quota in found.quotas:
        out.print(printable(f"{quota} at most"), markup=False)
    if not (found.policies or found.quotas):
        out.print("no policy is set (retention.policies): everything is kept for ever")
    if found.passed_ns:
        out.print(f"last pass {time_text(found.passed_ns)}: {_done_text(found.last)} deleted", markup=False)
    out.print(f"next pass {time_text(found.next_pass_ns)}", markup=False)
    locked = f", {found.locked_objects:,} of them locked" if found.locked_objects else ""
    out.print(f"{found.holds:,} legal holds; {found.pending_objects:,} objects wait to be deleted{locked}")
    for warning in found.warnings:
        out.print(f"[yellow]warning[/yellow]  {escape(printable(warning))}")


def _done_text(done: retention_pb2.RetentionDone) -> str:
    held = f"; {done.held_runs:,} due runs are on hold" if done.held_runs else ""
    return f"{done.runs:,} runs with {done.logs:,} logs, {bytes_text(done.bytes)}{held}"


@app.command()
def preview(
    *,
    ahead: Annotated[str, typer.Option("--in", metavar="TIME", help="As if it were so much later: 7d, 12h.")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Only runs of this namespace.")
    ] = "",
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """List the runs that a pass would delete now. Deletes nothing."""
    seconds = parse_duration(ahead) if ahead else 0
    request = retention_pb2.PreviewRetentionRequest(namespace=namespace, ahead_seconds=seconds)
    due: list[retention_pb2.DueRun] = []
    total = retention_pb2.RetentionDone()
    with retention_stub(leader, data_dir) as stub:
        for part in stub.PreviewRetention(request):
            due.extend(part.due)
            total = part.total
    if as_json:
        print_json({"due": [as_dict(one) for one in due], "total": as_dict(total)})
        return
    shown = table("RUN", "STATE", "ENDED", ">LOGS", ">STORED", "BY")
    for one in due:
        shown.add_row(
            escape(f"{one.namespace}:{one.run}"),
            run_state(one.state),
            time_text(one.completed_ns),
            f"{one.logs:,}",
            bytes_text(one.bytes),
            escape(printable("on hold: it stays" if one.held else one.policy)),
        )
    print_table(shown)
    err.print(f"{_done_text(total)}, of {total.runs_looked_at:,} runs")


@app.command()
def run(
    *,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Delete now what is due, as the leader does by itself at each retention.interval_seconds."""
    last: retention_pb2.RunRetentionResponse | None = None
    with retention_stub(leader, data_dir) as stub:
        for step in stub.RunRetention(retention_pb2.RunRetentionRequest()):
            last = step
    if last is None or not last.finished:
        raise Unavailable("the leader did not come to the end: run the same again")
    if as_json:
        print_json(as_dict(last.done))
        return
    done = last.done
    out.print(
        f"{_done_text(done)} deleted, of {done.runs_looked_at:,} runs in {duration_text(done.seconds)}", markup=False
    )
