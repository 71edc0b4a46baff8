"""A container as dockerd's files tell it, reduced to what joblog goes by.

`config.v2.json` and `hostconfig.json` lie beside the log. dockerd writes both anew, and renames them into place, when a
container starts, ends or is changed. What is in them is checked, not believed: whoever starts containers, or makes
images, chooses much of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joblog.errors import InvalidInput
from joblog.worker.checked_json import integer_of, object_of, text_of, texts_of, words_of
from joblog.worker.kubernetes.pod import parse_time_ns

CONFIG_FILE = "config.v2.json"
HOST_CONFIG_FILE = "hostconfig.json"
JSON_FILE_DRIVER = "json-file"
MAX_CONFIG_BYTES = 4 << 20
_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class DockerState:
    """Whether a container runs, and how its last run ended. Times in ns since 1970; 0: never."""

    running: bool = False
    restarting: bool = False
    oom_killed: bool = False
    exit_code: int | None = None
    error: str = ""
    started_ns: int = 0
    finished_ns: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the run that started last has ended: while it is restarted, dockerd takes it for running."""
        return self.restarting or not self.running


@dataclass(frozen=True, slots=True)
class DockerContainer:
    """A container. restarts: by its restart policy, since somebody started it. max_files: of its log, 0: not bounded.

    driver: what writes its log; empty: not known.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    command: Sequence[str] = ()
    restarts: int = 0
    state: DockerState = DockerState()
    driver: str = ""
    max_files: int = 0
    memory_limit_bytes: int = 0


def is_container_id(text: str) -> bool:
    """Whether a folder's name is a container's id."""
    return _ID.match(text) is not None


def read_container(folder: str, container_id: str) -> DockerContainer:
    """What the files in a container's folder say. Raises OSError, InvalidInput."""
    config = _read(f"{folder}/{CONFIG_FILE}")
    try:
        host_config = _read(f"{folder}/{HOST_CONFIG_FILE}")
    except (OSError, InvalidInput):
        # Bounds alone come from it.
        host_config = b"{}"
    return parse_container(container_id, config, host_config)


def parse_container(container_id: str, config_file: bytes, host_config_file: bytes) -> DockerContainer:
    """What the contents of both files say. Raises InvalidInput for one that is no JSON."""
    said, host = _parsed(config_file, CONFIG_FILE), _parsed(host_config_file, HOST_CONFIG_FILE)
    config, logging = object_of(said.get("Config")), object_of(host.get("LogConfig"))
    return DockerContainer(
        container_id,
        text_of(said.get("Name")).removeprefix("/") or container_id[:12],
        labels=texts_of(config.get("Labels")),
        image=text_of(config.get("Image")),
        command=(text_of(said.get("Path")), *words_of(said.get("Args"))) if said.get("Path") else (),
        restarts=integer_of(said.get("RestartCount"), 0, 2**31 - 1) or 0,
        state=_state(object_of(said.get("State"))),
        driver=text_of(logging.get("Type")),
        max_files=_max_files(texts_of(logging.get("Config"))),
        memory_limit_bytes=integer_of(host.get("Memory"), 0, 2**62) or 0,
    )


def _state(said: Mapping[str, Any]) -> DockerState:
    return DockerState(
        said.get("Running") is True,
        said.get("Restarting") is True,
        said.get("OOMKilled") is True,
        integer_of(said.get("ExitCode"), -(2**31), 2**31 - 1),
        text_of(said.get("Error")),
        parse_time_ns(text_of(said.get("StartedAt"))),
        parse_time_ns(text_of(said.get("FinishedAt"))),
    )


def _max_files(options: Mapping[str, str]) -> int:
    """So many files are kept: 1 where nothing else is said; without max-size nothing is ever rotated."""
    text = options.get("max-file", "1")
    if not options.get("max-size"):
        return 0
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidInput(f"{path} is no regular file")
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidInput(f"{path} has more than {MAX_CONFIG_BYTES} bytes")
    return data


def _parsed(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        return object_of(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is no JSON: {error}") from None
