"""The linter that holds the layers sees both daemons: it follows the symbolic links joblog/leader and joblog/worker."""

from __future__ import annotations

from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]


def test_the_linter_sees_every_module() -> None:
    graph = grimp.build_graph("joblog", cache_dir=None)
    for daemon in ("leader", "worker"):
        for file in (ROOT / daemon).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(("joblog", *parts)).removesuffix(".__init__")
            assert module in graph.modules, f"{file}: is an __init__.py missing in its folder?"


def test_neither_daemon_is_imported_under_another_name() -> None:
    for folder in ("joblog", "leader", "worker", "tests", "bench"):
        for file in (ROOT / folder).rglob("*.py"):
            for line in file.read_text().splitlines():
                assert not line.startswith(("import leader", "from leader", "import worker", "from worker")), file
