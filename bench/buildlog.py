"""The text that tasks print in the benchmarks: what builds of C++, Python and JavaScript say, always the same bytes.

It is made block by block, each from its own number, so that a longer text begins with the shorter one. Lines have
about 100 bytes; zstd at level 1 makes it 4 to 5 times smaller.
"""

# ruff: noqa: SIM905 - words read better in a row

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 4 << 20
# To be raised when the text changes: a kept file is then made anew.
VERSION = 2

_MODULES = "net http storage index query parser codec crypto scheduler metrics auth cache raft wal planner".split()
_NOUNS = "buffer stream session handle cursor frame block segment token node edge batch queue shard lease".split()
_VERBS = "open close read write flush merge split encode decode commit abort retry expire lookup insert".split()
_FLAGS = "-Wall -Wextra -Wshadow -fPIC -O2 -g -std=c++20 -fno-omit-frame-pointer -DNDEBUG -pthread".split()
_PACKAGES = "react lodash webpack babel eslint typescript postcss rollup vite jest chalk semver yargs debug".split()


def block(number: int) -> bytes:
    """Block `number` of the text, BLOCK_BYTES long."""
    lines: list[str] = []
    size = 0
    for line in _Builds(number).lines():
        lines.append(line)
        size += len(line) + 1
        if size >= BLOCK_BYTES:
            break
    return ("\n".join(lines) + "\n").encode()[: BLOCK_BYTES - 1] + b"\n"


def text_file(size_bytes: int, folder: Path | None = None) -> Path:
    """A file with the first size_bytes of the text; made once and kept. folder: default is below the user's cache."""
    folder = folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "joblog-bench")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"buildlog-{VERSION}-{size_bytes}.txt"
    if path.exists() and path.stat().st_size == size_bytes:
        return path
    temporary = path.with_suffix(f".{os.getpid()}.new")
    with temporary.open("wb") as file:
        left, number = size_bytes, 0
        while left > 0:
            left -= file.write(block(number)[:left])
            number += 1
    temporary.rename(path)
    return path


def slice_files(text: Path, count: int) -> list[Path]:
    """The text in `count` files of equal size, beside it; made once and kept."""
    size = text.stat().st_size
    paths = [text.with_name(f"{text.stem}.{number + 1}-of-{count}.txt") for number in range(count)]
    if not all(path.exists() for path in paths):
        with text.open("rb") as file:
            for number, path in enumerate(paths):
                temporary = path.with_suffix(".new")
                temporary.write_bytes(file.read(size * (number + 1) // count - size * number // count))
                temporary.rename(path)
    return paths


class _Builds:
    """What some builds that run side by side say, made from a number."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._milliseconds = self._below(80_000_000)
        self._step = self._below(3000)

    def lines(self) -> Iterator[str]:
        """Lines without end, in short runs of one kind."""
        kinds = [self._compiled, self._tested, self._logged, self._warned, self._fetched, self._traced]
        shares = [30, 25, 30, 6, 5, 4]
        while True:
            (make,) = self._random.choices(kinds, shares)
            for _ in range(1 + self._below(12)):
                yield make()

    def _below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def _one(self, words: list[str]) -> str:
        return words[self._below(len(words))]

    def _source(self) -> str:
        return f"src/{self._one(_MODULES)}/{self._one(_NOUNS)}_{self._one(_VERBS)}_{self._below(40)}"

    def _stamp(self) -> str:
        self._milliseconds += self._below(90)
        seconds, milliseconds = divmod(self._milliseconds, 1000)
        clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
        return f"2026-03-{1 + seconds // 86400 % 28:02d}T{clock}Z"

    def _compiled(self) -> str:
        self._step += 1
        flags = " ".join(self._one(_FLAGS) for _ in range(3))
        source = self._source()
        return f"[{self._step % 4000:4d}/4000] g++ {flags} -Iinclude -c {source}.cc -o build/{source}.o"

    def _tested(self) -> str:
        test = f"test_{self._one(_NOUNS)}.py::test_{self._one(_VERBS)}_{self._one(_NOUNS)}[{self._below(200)}]"
        return f"{self._stamp()} PASS tests/{self._one(_MODULES)}/{test} ({self._below(90000) / 100:.2f} ms)"

    def _logged(self) -> str:
        what = f"{self._one(_MODULES)}.{self._one(_NOUNS)}: {self._one(_VERBS)} {self._one(_NOUNS)}"
        number = f"{self._random.getrandbits(32):08x}"
        return (
            f"{self._stamp()} INFO  {what} id={number} shard={self._below(64)} took={self._below(50000) / 1000:.3f}ms"
        )

    def _warned(self) -> str:
        where = f"{self._source()}.cc:{self._below(900)}:{self._below(90)}"
        return f"{where}: warning: unused variable '{self._one(_NOUNS)}_{self._one(_VERBS)}' [-Wunused-variable]"

    def _fetched(self) -> str:
        package = f"{self._one(_PACKAGES)}-{self._one(_VERBS)}"
        version = f"{self._below(9)}.{self._below(30)}.{self._below(12)}"
        url = f"https://registry.example.org/{package}/-/{package}-{version}.tgz"
        return f"npm http fetch GET 200 {url} {self._below(700)}ms (cache miss) {self._random.getrandbits(64):016x}"

    def _traced(self) -> str:
        where = f"node_modules/{self._one(_PACKAGES)}/lib/{self._one(_NOUNS)}.js:{self._below(900)}:{self._below(80)}"
        return f"    at {self._one(_MODULES)}.{self._one(_VERBS)}{self._one(_NOUNS).title()} ({where})"
