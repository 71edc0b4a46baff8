"""`joblog hold`: legal holds, which keep runs from every deletion."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from joblog.cli.listing import parse_labels
from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace, parse_target
from joblog.cli.output import err, out, print_json, print_table, table
from joblog.cli.retaining import retention_stub
from joblog.cli.words import as_dict, printable, time_text
from joblog.errors import InvalidInput, NotFound
from joblog.v1 import retention_pb2

app = typer.Typer(name="hold", help="Legal holds: what nobody deletes.", no_args_is_help=True)

_SECONDS = 60.0

RunArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help="The run; or give --label.")]
Label = Annotated[
    str | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="All runs with this label, later ones too.")
]
Everywhere = Annotated[bool, typer.Option("--all", help="With --label: in every namespace.")]


@app.callback()
def root() -> None:
    """Legal holds: what nobody deletes."""


def _wanted(run: str | None, label: str | None, everywhere: bool, namespace: str) -> retention_pb2.Hold:
    """What the hold is on. Raises InvalidInput."""
    if (run is None) == (label is None):
        raise InvalidInput("say what is held: a run, or --label KEY=VALUE")
    if run is not None:
        if everywhere:
            raise InvalidInput("--all is for --label: a run is in one namespace")
        target = parse_target(run, namespace)
        if target.task:
            raise InvalidInput("a run is held as a whole: name the run alone")
        return retention_pb2.Hold(namespace=namespace, run=target.run)
    assert label is not None
    ((key, value),) = parse_labels([label]).items()
    return retention_pb2.Hold(namespace="" if everywhere else namespace, label=key, value=value)


def _on(hold: retention_pb2.Hold) -> str:
    return f"{hold.namespace}:{hold.run}" if hold.run else f"{hold.label}={hold.value}"


@app.command(name="set")
def set_hold(
    run: RunArgument = None,
    *,
    label: Label = None,
    everywhere: Everywhere = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the hold.")] = "",
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Keep a run, or all runs with a label, from every deletion: by policies, by hand, by anybody."""
    hold = _wanted(run, label, everywhere, namespace)
    request = retention_pb2.SetHoldRequest(
        namespace=hold.namespace, run=hold.run, label=hold.label, value=hold.value, reason=reason
    )
    with retention_stub(leader, data_dir) as stub:
        done: retention_pb2.SetHoldResponse = stub.SetHold(request, timeout=_SECONDS)
    if as_json:
        print_json(as_dict(done))
        return
    what = f"{_on(hold)} is on hold" + ("" if done.created else ", as it was before")
    out.print(printable(what if hold.run else f"{what}: {done.runs:,} runs now"), markup=False)


@app.command()
def lift(
    run: RunArgument = None,
    *,
    label: Label = None,
    everywhere: Everywhere = False,
    unreadable: Annotated[
        bool,
        typer.Option("--unreadable", help="Confirm that a former leader's holds, which can't be read, are gone."),
    ] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Lift a hold: what it was on goes as policies and people say."""
    if unreadable:
        if run is not None or label is not None:
            raise InvalidInput("--unreadable is given with a run or label: it goes alone")
        hold = retention_pb2.Hold()
    else:
        hold = _wanted(run, label, everywhere, namespace)
    request = retention_pb2.LiftHoldRequest(
        namespace=hold.namespace, run=hold.run, label=hold.label, value=hold.value, unreadable=unreadable
    )
    with retention_stub(leader, data_dir) as stub:
        done: retention_pb2.LiftHoldResponse = stub.LiftHold(request, timeout=_SECONDS)
    if not done.lifted:
        raise NotFound("there is no such hold: `joblog hold ls` lists them")
    if as_json:
        print_json(as_dict(done))
        return
    out.print("deletions go on" if unreadable else printable(f"{_on(hold)} is not on hold any more"), markup=False)


@app.command()
def ls(
    *,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """List all holds."""
    with retention_stub(leader, data_dir) as stub:
        found: retention_pb2.ListHoldsResponse = stub.ListHolds(retention_pb2.ListHoldsRequest(), timeout=_SECONDS)
    if as_json:
        print_json(as_dict(found))
        return
    shown = table("ON", "NAMESPACE", "SET", "BY", "REASON")
    for hold in found.holds:
        on = f"run {hold.run}" if hold.run else f"label {hold.label}={hold.value}"
        shown.add_row(
            escape(printable(on)),
            escape(hold.namespace or "all"),
            time_text(hold.set_ns),
            escape(printable(hold.set_by)),
            escape(printable(hold.reason)),
        )
    print_table(shown)
    if found.unreadable:
        err.print(
            printable(
                f"joblog: nothing is deleted: {found.unreadable}. Set them anew, then `joblog hold lift --unreadable`"
            ),
            markup=False,
        )
