"""The client library: reads what a leader holds, over gRPC, synchronously.

::

    with joblog.Client() as client:
        for part in client.read(parse_log_path("demo/build"), follow=True):
            sys.stdout.buffer.write(part.data)

Every call raises an error of joblog.errors: Unavailable when the leader can't be reached, else what the leader says.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc

from joblog.address import KnownLeader, find_leader
from joblog.channel import open_channel
from joblog.errors import BeyondEnd, InvalidInput, JoblogError, NotAuthenticated
from joblog.identity import DEFAULT_NAMESPACE, LogName, check_attempt, check_log_name, check_name
from joblog.replies import error_from, is_passing
from joblog.v1 import access_pb2, access_pb2_grpc, admin_pb2, admin_pb2_grpc, logs_pb2, logs_pb2_grpc, types_pb2

DEFAULT_TIMEOUT_SECONDS = 30.0
_PAGE_SIZE = 500
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0

OnRetry = Callable[[JoblogError], None]


class Client:
    """A connection to one leader. Use it as a context manager, or close() it. Safe to use from several threads.

    address: HOST:PORT. Without one the leader is looked up as the command line does it (joblog.address.find_leader),
    and again after each broken connection: a leader that comes back on another port is found. So are the token that it
    is shown and the CA that it must come from; `leader` gives all of them instead.
    timeout_seconds bounds each call but read() and verify(), which may take as long as the log is.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        data_dir: Path | None = None,
        leader: KnownLeader | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._find: Callable[[], KnownLeader] = lambda: leader or find_leader(address, data_dir)
        self._timeout_seconds = timeout_seconds
        self._channels: list[grpc.Channel] = []
        self._leader = self._find()
        self._connect()

    @property
    def address(self) -> str:
        """The leader's, HOST:PORT."""
        return self._leader.address

    @property
    def leader(self) -> KnownLeader:
        """The leader that it talks to now, and what is shown to it."""
        return self._leader

    def _connect(self) -> None:
        channel = open_channel(*self._leader)
        self._channels.append(channel)
        self._logs: Any = logs_pb2_grpc.LogsStub(channel)  # type: ignore[no-untyped-call]
        self._admin: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
        self._access: Any = access_pb2_grpc.AccessStub(channel)  # type: ignore[no-untyped-call]

    def _look_again(self) -> None:
        """Finds the leader anew, and connects to it where it has moved."""
        try:
            leader = self._find()
            if leader != self._leader:
                self._leader = leader
                self._connect()
        except JoblogError:
            return

    def close(self) -> None:
        """Ends the connection; calls under way fail."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def stub(self, make: Callable[[grpc.Channel], Any]) -> Any:
        """A stub of a further service of the leader, made by the generated class `make`; it lives as long as this."""
        return make(self._channels[-1])

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            raise error_from(error, self._leader) from None

    def create_sign_in_code(self) -> access_pb2.CreateSignInCodeResponse:
        """A code with which a browser signs in, once, and where it finds the leader."""
        made: access_pb2.CreateSignInCodeResponse = self._call(
            self._access.CreateSignInCode, access_pb2.CreateSignInCodeRequest()
        )
        return made

    def who_am_i(self) -> access_pb2.WhoAmIResponse:
        """Who the leader takes this client for, and what it may do."""
        found: access_pb2.WhoAmIResponse = self._call(self._access.WhoAmI, access_pb2.WhoAmIRequest())
        return found

    def namespaces(self) -> Iterator[str]:
        """The namespaces that hold runs, by name."""
        token = ""
        while True:
            request = logs_pb2.ListNamespacesRequest(page_size=_PAGE_SIZE, page_token=token)
            page: logs_pb2.ListNamespacesResponse = self._call(self._logs.ListNamespaces, request)
            yield from page.namespaces
            token = page.next_page_token
            if not token:
                return

    def runs(
        self,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        states: Sequence[types_pb2.RunState] = (),
        labels: Mapping[str, str] | None = None,
        created_from_ns: int = 0,
        created_before_ns: int = 0,
        limit: int = 0,
    ) -> Iterator[types_pb2.RunRecord]:
        """The runs of a namespace, newest first: in any of `states`, with all of `labels`, made in the time given.

        limit: at most so many; 0 is all.
        """
        check_name("namespace", namespace)
        request = logs_pb2.ListRunsRequest(
            namespace=namespace,
            states=states,
            labels=labels or {},
            created_from_ns=created_from_ns,
            created_before_ns=created_before_ns,
        )
        left = limit
        while True:
            request.page_size = min(_PAGE_SIZE, left) if limit else _PAGE_SIZE
            page: logs_pb2.ListRunsResponse = self._call(self._logs.ListRuns, request)
            yield from page.runs
            left -= len(page.runs)
            request.page_token = page.next_page_token
            if not page.next_page_token or (limit and left <= 0):
                return

    def run(self, run: str, namespace: str = DEFAULT_NAMESPACE) -> types_pb2.RunRecord:
        """One run's record. Raises NotFound."""
        check_name("namespace", namespace)
        request = logs_pb2.GetRunRequest(namespace=namespace, run=check_name("run", run))
        record: types_pb2.RunRecord = self._call(self._logs.GetRun, request)
        return record

    def logs(self, run: str, namespace: str = DEFAULT_NAMESPACE, *, task: str = "") -> Iterator[types_pb2.LogRecord]:
        """The logs of a run, or of one task of it, by task and attempt. Raises NotFound where there is no such run."""
        check_name("namespace", namespace)
        request = logs_pb2.ListLogsRequest(namespace=namespace, run=check_name("run", run), page_size=_PAGE_SIZE)
        if task:
            request.task = check_name("task", task, reserved=True)
        while True:
            page: logs_pb2.ListLogsResponse = self._call(self._logs.ListLogs, request)
            if not (page.logs or request.page_token):
                self.run(run, namespace)
            yield from page.logs
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    def log(self, name: LogName) -> logs_pb2.GetLogResponse:
        """One log's record and events; attempt 0 is the newest. Raises NotFound."""
        reply: logs_pb2.GetLogResponse = self._call(self._logs.GetLog, logs_pb2.GetLogRequest(id=log_id(name)))
        return reply

    def status(self) -> admin_pb2.GetStatusResponse:
        """Who the leader is and how it does."""
        reply: admin_pb2.GetStatusResponse = self._call(self._admin.GetStatus, admin_pb2.GetStatusRequest())
        return reply

    def delete(
        self, run: str, namespace: str = DEFAULT_NAMESPACE, *, task: str = "", attempt: int = 0
    ) -> admin_pb2.DeleteResponse:
        """Deletes a run, the logs of one task of it, or one log, with their keys. Can be repeated."""
        check_name("namespace", namespace)
        request = admin_pb2.DeleteRequest(namespace=namespace, run=check_name("run", run))
        if task:
            request.task = check_name("task", task, reserved=True)
        if attempt:
            if not task:
                raise InvalidInput(f"attempt {attempt} is given without a task: name the task as well")
            request.attempt = check_attempt(attempt)
        reply: admin_pb2.DeleteResponse = self._call(self._admin.Delete, request)
        return reply

    def verify(self, name: LogName) -> Iterator[logs_pb2.VerifyResponse]:
        """Has the leader read a whole log and hold it against its seal: how far it is, in the last one its verdict."""
        try:
            yield from self._logs.Verify(logs_pb2.VerifyRequest(id=log_id(name)))
        except grpc.RpcError as error:
            raise error_from(error, self._leader) from None

    def search(self, request: logs_pb2.SearchRequest) -> Iterator[logs_pb2.SearchResponse]:
        """Has the leader search; see logs.proto. Close the iterator to end it early."""
        call = self._logs.Search(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise error_from(error, self._leader) from None
        finally:
            call.cancel()

    def read(
        self,
        name: LogName,
        *,
        offset: int | None = None,
        line: int | None = None,
        last_lines: int | None = None,
        last_bytes: int | None = None,
        limit_bytes: int = 0,
        stream: types_pb2.Stream = types_pb2.STREAM_UNSPECIFIED,
        with_frames: bool = False,
        follow: bool = False,
        retry_seconds: float | None = None,
        on_retry: OnRetry | None = None,
    ) -> Iterator[logs_pb2.ReadResponse]:
        """A log's bytes and gaps in order, from its start or from one of offset, line (from 1), last_lines, last_bytes.

        Ends at the end of what is stored; with follow, once the log is completed. When the connection breaks after the
        first answer, the read goes on at the offset where it was: nothing is missing, nothing comes twice. on_retry is
        told of each such break. retry_seconds: how long without an answer until it gives up and raises Unavailable;
        the default is for ever with follow, else 30 s. Attempt 0 is the attempt that is the newest now, to the end.
        """
        request = logs_pb2.ReadRequest(limit_bytes=limit_bytes, stream=stream, with_frames=with_frames, follow=follow)
        _set_start(request, offset=offset, line=line, last_lines=last_lines, last_bytes=last_bytes)
        if name.attempt == 0:
            name = name._replace(attempt=self.log(name).log.id.attempt)
        request.id.CopyFrom(log_id(name))
        if retry_seconds is None and not follow:
            retry_seconds = DEFAULT_TIMEOUT_SECONDS
        return self._read_on(request, retry_seconds, on_retry)

    def _read_on(
        self, request: logs_pb2.ReadRequest, retry_seconds: float | None, on_retry: OnRetry | None
    ) -> Iterator[logs_pb2.ReadResponse]:
        limit_bytes = request.limit_bytes
        pauses = Pauses(retry_seconds)
        answered = False
        while True:
            call = self._logs.Read(request)
            try:
                for part in call:
                    answered = True
                    pauses.reset()
                    request.offset = part.next_offset
                    limit_bytes -= len(part.data)
                    yield part
            except grpc.RpcError as error:
                told = error_from(error, self._leader)
                if not (answered and (is_passing(error) or self._may_pass(told, request))) or pauses.over():
                    raise told from None
            else:
                return
            finally:
                call.cancel()
            if request.limit_bytes:
                if limit_bytes <= 0:
                    return
                request.limit_bytes = limit_bytes
            if on_retry is not None:
                on_retry(told)
            pauses.wait()
            self._look_again()

    def _may_pass(self, told: JoblogError, request: logs_pb2.ReadRequest) -> bool:
        """Whether an error of a read that went well before comes of a new leader in place of one that lost its disk."""
        if isinstance(told, NotAuthenticated):
            # What this user's clients show there is made anew.
            before = self._leader
            self._look_again()
            return self._leader != before
        # The log's end is where the archive has it, until its worker has sent the rest again.
        return isinstance(told, BeyondEnd) and request.follow


class Pauses:
    """Growing, jittered pauses between attempts at a server that does not answer: from 0.1 to 2 s.

    give_up_seconds: how long after the first failure over() says so; None is never.
    """

    def __init__(self, give_up_seconds: float | None) -> None:
        self._give_up_seconds = give_up_seconds
        self.reset()

    def reset(self) -> None:
        """An attempt succeeded."""
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._failing_since: float | None = None

    def over(self) -> bool:
        """An attempt failed: whether to give up."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return self._give_up_seconds is not None and now - self._failing_since >= self._give_up_seconds

    def wait(self) -> None:
        """Sleeps until the next attempt."""
        time.sleep(self._pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter needs no secrecy
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)


def _set_start(request: logs_pb2.ReadRequest, **starts: int | None) -> None:
    given = {field: value for field, value in starts.items() if value is not None}
    if len(given) > 1:
        raise InvalidInput(f"{' and '.join(given)} are given together: a read starts at one place")
    for field, value in given.items():
        first = 1 if field == "line" else 0
        if not first <= value < 2**63:
            raise InvalidInput(f"{field} {value} is out of range: it is a number from {first} to 2**63-1")
        setattr(request, field, value)
    if not given:
        request.offset = 0


def log_id(name: LogName) -> types_pb2.LogId:
    """A checked name as it goes over the wire; raises InvalidInput."""
    check_log_name(name, open_attempt=True)
    return types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task, attempt=name.attempt)


def log_name(log: types_pb2.LogId) -> LogName:
    """A name as it came over the wire."""
    return LogName(log.namespace, log.run, log.task, log.attempt)
