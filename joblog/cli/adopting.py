"""`joblog adopt`: logs of older systems, taken into the catalog where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from joblog.cli.options import AsJson, DataDir, Leader, open_client
from joblog.cli.output import err, out, print_json_line, progress_console
from joblog.cli.tokens import parse_lifetime
from joblog.cli.words import as_dict, bytes_text, printable
from joblog.errors import InvalidInput, Unavailable
from joblog.replies import error_from
from joblog.v1 import adoption_pb2, adoption_pb2_grpc

PROBLEMS_EXIT_CODE = 1
_WORDS = {
    adoption_pb2.ADOPT_RESULT_ADOPTED: "adopted",
    adoption_pb2.ADOPT_RESULT_CHANGED: "changed",
    adoption_pb2.ADOPT_RESULT_REFUSED: "refused",
    adoption_pb2.ADOPT_RESULT_LATER: "later",
}

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="Where the logs lie: s3://BUCKET/PREFIX or file:///FOLDER, in one of the leader's adoption.sources.",
    ),
]
RuleOption = Annotated[
    str,
    typer.Option(
        "--rule",
        metavar="RULE",
        help="Which objects below URL are logs: {namespace}/{jobType}/{serviceName}/{jobName}/logs.txt. What "
        "stands in braces is a part of the key, without a slash.",
    ),
]
NamespaceOption = Annotated[
    str,
    typer.Option("--namespace", "-n", metavar="TEXT", help="The namespace, where no part is called so: a name."),
]
RunOption = Annotated[
    str, typer.Option("--run", metavar="TEXT", help="The run, put together of parts: {jobName}-{day}.")
]
TaskOption = Annotated[str, typer.Option("--task", metavar="TEXT", help="The same for the task.")]
AttemptOption = Annotated[str, typer.Option("--attempt", metavar="TEXT", help="The same for the attempt.")]
MetadataOption = Annotated[
    str,
    typer.Option(
        "--metadata", metavar="NAME", help="The JSON beside each log; may have parts in it. `-`: there is none."
    ),
]
FieldOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="MEANING=PATH",
        help="A field of the metadata that means something: exit_code=result.rc. Also signal, status, started, "
        "ended, host, message, command, labels.",
    ),
]
StatusOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="WORD=MEANING",
        help="A word in `status`: GREEN=succeeded. Also failed, timed_out, evicted, node_lost, unknown, running.",
    ),
]
Otherwise = Annotated[
    str,
    typer.Option("--otherwise", metavar="MEANING", help="Logs of whose end nothing is known count as `succeeded`."),
]
IgnoreMetadata = Annotated[
    bool, typer.Option("--ignore-bad-metadata", help="Adopt a log whose metadata can't be used without it.")
]
MinAge = Annotated[
    str, typer.Option("--min-age", metavar="TIME", help="Leave objects that were written since: 30m, 2h, 0s.")
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Adopt so many at most; 0: all.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be adopted, and under which names.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only tell of what was not adopted.")]


@contextmanager
def adoption_stub(leader: str | None, data_dir: Path | None) -> Iterator[Any]:
    """A stub of the service Adoption. Raises an error of joblog for each of gRPC's."""
    with open_client(leader, data_dir) as client:
        try:
            yield client.stub(adoption_pb2_grpc.AdoptionStub)
        except grpc.RpcError as error:
            raise error_from(error, client.leader) from None


def adopt(
    url: Url,
    *,
    rule: RuleOption,
    namespace: NamespaceOption = "",
    run: RunOption = "",
    task: TaskOption = "",
    attempt: AttemptOption = "",
    metadata: MetadataOption = "metadata.json",
    field: FieldOptions = None,
    status: StatusOptions = None,
    otherwise: Otherwise = "",
    ignore_metadata: IgnoreMetadata = False,
    min_age: MinAge = "1h",
    limit: Limit = 0,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Take logs of an older system into the catalog, where they lie: their text is read once, and not copied.

    What is in the catalog already is passed over, so that the same again adopts what is new. Nothing is ever written
    or deleted where the logs lie. With --json, an object for each log, a line each, and the sums in the last.

    Exit code 0: all that the rule names is adopted, or was before, or is not old enough. 1: some was refused, or was
    changed since it was adopted.
    """
    request = adoption_pb2.AdoptRequest(
        url=url,
        rule=rule,
        namespace=namespace,
        run=run,
        task=task,
        attempt=attempt,
        metadata=metadata,
        fields=_pairs("--field", field),
        statuses=_pairs("--status", status),
        otherwise=otherwise,
        ignore_metadata=ignore_metadata,
        min_age_seconds=0 if min_age in ("0", "0s") else parse_lifetime(min_age),
        dry_run=dry_run,
        limit=limit,
    )
    last: adoption_pb2.AdoptResponse | None = None
    with adoption_stub(leader, data_dir) as stub, _progress() as progress:
        shown = progress.add_task("adopting", total=None)
        for last in stub.Adopt(request):
            words = f"{last.listed:,} objects looked at, {last.adopted:,} logs {_adopted(dry_run=dry_run)}"
            progress.update(shown, description=words)
            for one in last.logs:
                if as_json:
                    print_json_line({**as_dict(one), "result": _WORDS.get(one.result, "unknown")})
                elif not (quiet and one.result == adoption_pb2.ADOPT_RESULT_ADOPTED):
                    out.print(_line(one, dry_run=dry_run), markup=False, soft_wrap=True)
            last.ClearField("logs")
    if last is None or not last.done:
        raise Unavailable("the leader did not come to the end: run the same again for the rest")
    if as_json:
        print_json_line({**as_dict(last), "result": "done"})
    else:
        err.print(_sums(last, dry_run=dry_run), markup=False)
    if last.refused or last.changed:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


def _progress() -> Progress:
    """How far it is, on stderr, which is there on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=progress_console,
        transient=True,
        disable=not os.isatty(2),
    )


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidInput(f"{option} {text[:80]!r} says nothing: write NAME=VALUE")
        found[name] = value
    return found


def _adopted(*, dry_run: bool) -> str:
    return "would be adopted" if dry_run else "adopted"


def _line(one: adoption_pb2.AdoptedLog, *, dry_run: bool) -> str:
    word = _WORDS.get(one.result, "unknown")
    if one.result == adoption_pb2.ADOPT_RESULT_ADOPTED:
        labels = "".join(f" {key}={value}" for key, value in sorted(one.labels.items()))
        return printable(
            f"{'would be ' if dry_run else ''}{word}  {one.name}  {bytes_text(one.bytes)}  {one.url}{labels}"
        )
    return printable(f"{word}  {one.name or '-'}  {one.url}: {one.why}")


def _sums(last: adoption_pb2.AdoptResponse, *, dry_run: bool) -> str:
    parts = [
        f"{last.adopted:,} logs {_adopted(dry_run=dry_run)}, {bytes_text(last.bytes)}",
        f"{last.known:,} were before",
    ]
    for count, words in (
        (last.later, "left for later"),
        (last.changed, "changed since they were adopted"),
        (last.refused, "refused"),
        (last.others, "other objects"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return "; ".join(parts)
