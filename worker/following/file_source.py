"""Logs that are found by globs, as a program's own log files."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.identity import LogName, check_writable_name
from joblog.worker.following.source import Found
from joblog.worker.kubernetes.pods import ContainerEnd, Excluded, LogTarget, NotYet, allowed_name

_PREFIX = "file:"
_PLACEHOLDERS = ("name", "folder", "host")
_PLACE = re.compile(r"\{(" + "|".join(_PLACEHOLDERS) + r")\}")
_FORMATS = ("plain", "docker", "cri")


class FilesRule(NamedTuple):
    """Files that match `pattern` are logs; their names are made from the texts, in which {name} is the file's name
    without .log, {folder} that of its folder, {host} that of this machine.
    """

    namespace: str
    run: str
    task: str
    pattern: str
    format: str = "plain"

    def name(self, path: str, host: str) -> LogName:
        """The log's name; its attempt is the next free one."""
        values = {
            "name": os.path.basename(path).removesuffix(".log"),
            "folder": os.path.basename(os.path.dirname(path)),
            "host": host,
        }
        return self._named(values)

    def _named(self, values: dict[str, str]) -> LogName:
        namespace, run, task = (allowed_name(_filled(text, values)) for text in self[:3])
        return LogName(namespace, run, task, 0)

    def check(self) -> None:
        """Raises InvalidInput for names that can't be."""
        try:
            # Of what is written here nothing is made allowed: only of what the file system says.
            filled = [_filled(text, dict.fromkeys(_PLACEHOLDERS, "x")) for text in self[:3]]
            check_writable_name(LogName(filled[0], filled[1], filled[2], 0))
        except ValueError as error:
            allowed = " ".join(f"{{{word}}}" for word in _PLACEHOLDERS)
            raise InvalidInput(f"{error}: placeholders are {allowed}") from None


def parse_rule(text: str) -> FilesRule:
    """NAMESPACE:RUN/TASK=[FORMAT:]GLOB as a rule. Raises InvalidInput."""
    name, equals, pattern = text.partition("=")
    form, given, rest = pattern.strip().partition(":")
    if given and form in _FORMATS:
        pattern = rest
    else:
        form = _FORMATS[0]
    namespace, colon, place = name.partition(":")
    run, slash, task = place.partition("/")
    if not (equals and colon and slash):
        raise InvalidInput(
            f"{text[:80]!r} must be NAMESPACE:RUN/TASK=GLOB, as in web:nginx/{{name}}=/var/log/nginx/*.log"
        )
    if not pattern.startswith("/"):
        raise InvalidInput(f"{text[:80]!r}: the glob must begin with /, or with plain:, docker: or cri: and then /")
    rule = FilesRule(namespace.strip(), run.strip(), task.strip(), pattern.strip(), form)
    rule.check()
    return rule


def _filled(text: str, values: dict[str, str]) -> str:
    """The values themselves may hold anything: whoever can make a file gives it its name."""
    if set("{}") & set(_PLACE.sub("", text)):
        raise ValueError(repr(text[:80]))
    return _PLACE.sub(lambda found: values[found[1]], text)


def _matching(pattern: str) -> Iterator[str]:
    """Paths that match; `**` stands for folders, and does not go through links: these may lead round in a circle."""
    if pattern.endswith("/**"):
        pattern += "/*"
    head, deep, rest = pattern.partition("/**/")
    if not deep:
        yield from glob.iglob(pattern)
        return
    for base in glob.iglob(head or "/"):
        for folder, names, _ in os.walk(base):
            names[:] = [name for name in names if not name.startswith(".")]
            yield from _matching(f"{glob.escape(folder.rstrip('/'))}/{rest}")


def _fixed(pattern: str) -> str:
    """The folder that a glob names before anything in it stands for something else."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder


class FileSource:
    """Files by glob. A file's log ends when the file has been gone for a while, and none of that name came again.

    Who may write to a folder that a glob looks into could put links there to files that only this worker may read: a
    link that leads out of its folder is followed into `linked` folders alone.
    """

    name = "files"
    recurring = True

    def __init__(
        self, rules: Sequence[FilesRule], *, host: str, linked: Sequence[str] = (), gone_seconds: float = 60.0
    ) -> None:
        self._rules = rules
        self._linked = [os.path.realpath(folder) for folder in linked]
        self._host = host
        self._gone_seconds = gone_seconds
        self._names: dict[str, LogName] = {}
        self._formats: dict[str, str] = {}
        self._roots: dict[str, list[str]] = {}
        self._last_seen: dict[str, float] = {}

    def scan(self) -> list[Found]:
        now = time.monotonic()
        for rule in self._rules:
            fixed = _fixed(rule.pattern)
            there = os.path.realpath(fixed)
            for path in _matching(rule.pattern):
                if os.path.isfile(path):
                    self._names.setdefault(path, rule.name(path, self._host))
                    self._formats.setdefault(path, rule.format)
                    # Folders that a glob finds may be links too.
                    folder = os.path.join(there, os.path.relpath(os.path.dirname(path), fixed))
                    self._roots[path] = [os.path.normpath(folder), *self._linked]
                    self._last_seen[path] = now
        for path in [path for path, seen in self._last_seen.items() if now - seen > self._gone_seconds]:
            del self._last_seen[path], self._names[path], self._formats[path], self._roots[path]
        return [
            Found(
                _PREFIX + path,
                path,
                self._formats[path],
                self._names[path].namespace,
                os.path.dirname(path),
                self._roots[path],
            )
            for path in self._last_seen
        ]

    def folders(self) -> list[str]:
        fixed = {os.path.dirname(path) for path in self._last_seen}
        fixed.update(_fixed(rule.pattern) for rule in self._rules)
        return sorted(fixed)

    async def target(self, found: Found) -> LogTarget | Excluded | NotYet:
        return LogTarget(self._names[found.path], host=self._host)

    async def ended(self, found: Found) -> ContainerEnd | None:  # noqa: ARG002
        return None

    async def alive(self, found: Found) -> bool | None:
        # Who writes a file may do so at any time, as long as it is there; between two of that name it is not.
        return found.path in self._last_seen if found.path else None

    def is_mine(self, key: str) -> bool:
        return key.startswith(_PREFIX)
