"""Builds the image of the Dockerfile without a container engine, and runs what is in it as Kubernetes would.

Each stage is a root of its own: an overlay over this machine's, which stands for the base image as it has its Python
and Node.js. COPY copies, RUN runs under chroot, with nothing of the project there but what was copied. For root, in a
mount namespace of its own, with which all that is mounted goes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.deploying.conftest import ROOT

# What an engine lets through of itself: where packages are fetched from.
_ENGINE = (
    "PIP_",
    "UV_",
    "NPM_",
    "npm_",
    "SSL_",
    "REQUESTS_",
    "NODE_",
    "HTTP_",
    "HTTPS_",
    "http_",
    "https_",
    "no_proxy",
)
_PROGRAMS = [Path(sys.base_prefix, "bin"), Path(shutil.which("node") or "/usr/bin/node").parent]
_PATH = ":".join([*map(str, _PROGRAMS), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])


@dataclass
class Stage:
    """A root file system that is being built."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def mount(self) -> None:
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        options = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        for name in ("proc", "sys", "dev"):
            _run("mount", "--rbind", f"/{name}", str(self.root / name))
        _run("mount", "-t", "tmpfs", "tmpfs", str(self.root / "tmp"))
        # The project is there by COPY alone.
        _run("mount", "-t", "tmpfs", "tmpfs", str(self.inside(str(ROOT))))
        for folder in _PROGRAMS:
            # As in the base images, for every user.
            for parent in (folder, *folder.parents):
                self.inside(str(parent)).chmod(self.inside(str(parent)).stat().st_mode | 0o055)

    def inside(self, path: str) -> Path:
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def command(self, *words: str, user: str = "", root: bool = False) -> list[str]:
        """How something is run in it."""
        uid, gid = (user or ("0:0" if root else self.user)).split(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        return ["chroot", str(self.root), *drop, "env", "-C", self.workdir, *words]

    def all_variables(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if name.startswith(_ENGINE)}
        return {"HOME": "/tmp", "LANG": "C.UTF-8", **mine, **self.environment}


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


class Build:
    """Follows the Dockerfile; `stages` by name, the last one under its number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stages: dict[str, Stage] = {}
        self.last: Stage | None = None

    def follow(self) -> Stage:
        parser = DockerfileParser(path=str(ROOT))
        for step in parser.structure:
            words = step["value"]
            print(f"== {step['instruction']} {words[:100]}", flush=True)
            getattr(self, f"_{step['instruction'].lower()}")(words)
        assert self.last is not None
        return self.last

    @property
    def _stage(self) -> Stage:
        assert self.last is not None
        return self.last

    def _comment(self, words: str) -> None: ...

    _arg = _label = _expose = _volume = _stopsignal = _cmd = _comment

    def _from(self, words: str) -> None:
        name = words.split(" AS ")[1] if " AS " in words else str(len(self.stages))
        self.last = self.stages[name] = Stage(self._folder / name)
        self.last.mount()

    def _workdir(self, words: str) -> None:
        self._stage.workdir = words
        self._stage.inside(words).mkdir(parents=True, exist_ok=True)

    def _env(self, words: str) -> None:
        for pair in words.split():
            name, value = pair.split("=", 1)
            self._stage.environment[name] = value.replace("$PATH", self._stage.environment["PATH"])

    def _user(self, words: str) -> None:
        self._stage.user = words

    def _entrypoint(self, words: str) -> None:
        self._stage.entrypoint = json.loads(words)

    def _copy(self, words: str) -> None:
        *sources, target = words.split()
        source_root = ROOT
        if sources[0].startswith("--from="):
            source_root = self.stages[sources.pop(0).removeprefix("--from=")].root
        for source in sources:
            path = source_root / source.lstrip("/")
            place = self._stage.inside(target)
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True, ignore=_ignored(source_root))
            else:
                folder = place if target.endswith("/") else place.parent
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place / path.name if target.endswith("/") else place, follow_symlinks=False)

    def _run(self, words: str) -> None:
        stage = self._stage
        done = subprocess.run(
            stage.command("sh", "-c", words), env=stage.all_variables(), stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            sys.exit(f"RUN {words}: exit code {done.returncode}")


def _ignored(source_root: Path) -> Callable[[str, list[str]], list[str]] | None:
    """What .dockerignore keeps out of folders that are let in."""
    if source_root != ROOT:
        return None
    return lambda folder, names: [
        name
        for name in names
        if name in ("__pycache__", "node_modules") or Path(folder, name) == ROOT / "leader/api/ui"
    ]


@contextmanager
def built(folder: Path) -> Iterator[Stage]:
    """The image. What was mounted goes with the namespace."""
    yield Build(folder).follow()
