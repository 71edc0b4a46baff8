"""journalctl as a child process that follows the journal, and its output entry by entry."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput, InvalidSettings, Unavailable
from joblog.printable import printable
from joblog.worker.journald.cursor import Cursor
from joblog.worker.journald.entry import FIELDS, JournalEntry, parse_entry

log = logging.getLogger(__name__)

# Of one entry, in JSON: four times what it has, where it is no text.
MAX_LINE_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_MAX_BATCH_LINES = 5000
_STOP_SECONDS = 2.0
_MAX_WARNINGS = 20


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """directory: of the journal's files; empty: this machine's. since: `boot`, `all` or `now`, for the first time."""

    directory: str = ""
    since: str = "boot"


def journalctl_path() -> str:
    """Raises InvalidSettings where there is none."""
    found = shutil.which("journalctl")
    if found is None:
        raise InvalidSettings("journald.units needs journalctl, which comes with systemd, and is not installed here")
    return found


class JournalReader:
    """Reads from `after` on, which is given back as the first entry where it is still there.

    too_long: entries that were left out, as they were longer than MAX_LINE_BYTES.
    """

    def __init__(self, program: str, place: JournalPlace, after: Cursor | None) -> None:
        self.too_long = 0
        self._command = [program, "--follow", "--output=json", "--all", "--no-pager"]
        self._command.append(f"--output-fields={','.join(FIELDS)}")
        if place.directory:
            self._command.append(f"--directory={place.directory}")
        # With --follow, --merge alone keeps journalctl from showing the last boot only; journals of other machines come
        # with it.
        boot = "--boot" if place.since == "boot" and after is None else "--merge"
        # One line, so that it is known where now was.
        self._command += [boot, "--lines=1" if place.since == "now" and after is None else "--no-tail"]
        if after is not None:
            self._command.append(f"--cursor={after.text}")
        self._machine = "" if place.directory else _machine_id()
        self._process: asyncio.subprocess.Process | None = None
        self._rest = bytearray()
        self._skipping = False
        self._said: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        """Begins. Raises OSError."""
        # Nothing of what this worker is given is its child's to know.
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_READ_BYTES,
        )
        assert self._process.stderr is not None
        self._said = asyncio.create_task(_pass_on(self._process.stderr))

    async def read(self) -> list[JournalEntry]:
        """What there is, when there is something. Raises Unavailable when journalctl has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            lines = self._lines()
            if lines:
                return [entry for line in lines if (entry := _parsed(line, self._machine)) is not None]
            data = await self._process.stdout.read(_READ_BYTES)
            if not data:
                raise Unavailable(f"journalctl ended: {await self._last_words()}")
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        self._rest += data
        if len(self._rest) > MAX_LINE_BYTES and b"\n" not in self._rest:
            self.too_long += 1
            self._rest.clear()
            self._skipping = True

    def _lines(self) -> list[bytes]:
        lines = self._rest.split(b"\n", _MAX_BATCH_LINES)
        self._rest = bytearray(lines.pop())
        return [bytes(line) for line in lines if line.startswith(b"{")]

    async def _last_words(self) -> str:
        assert self._process is not None
        assert self._said is not None
        code = await self._process.wait()
        text = (await self._said).decode(errors="replace").strip().replace("\n", "; ")
        return text[:500] or f"exit code {code}"

    async def stop(self) -> None:
        """Ends it."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._said is not None:
            self._said.cancel()
            await asyncio.gather(self._said, return_exceptions=True)


async def _pass_on(stream: asyncio.StreamReader) -> bytes:
    """Says what journalctl says, as that it may not read the journal, and goes on all the same. Returns its end."""
    kept, said = b"", 0
    while data := await stream.read(_READ_BYTES):
        kept = (kept + data)[-4096:]
        for line in data.decode(errors="replace").splitlines():
            if line.strip() and said < _MAX_WARNINGS:
                said += 1
                log.warning("journalctl: %s", printable(line[:500]))
    return kept


def _machine_id() -> str:
    """As journald writes it into entries; empty where it is not known."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def _parsed(line: bytes, machine: str) -> JournalEntry | None:
    try:
        return parse_entry(line, machine)
    except InvalidInput as error:
        log.error("journald: an entry is left out: %s", error)
        return None
