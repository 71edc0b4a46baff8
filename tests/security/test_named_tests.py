"""Every test that docs/security.md names is there, and each power of an attacker has one that tries it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w./*-]+\.py)(?:::(test_\w+))?`")
BARE = re.compile(r"`(test_\w+)`")


def test_every_file_and_test_that_the_page_names_is_there() -> None:
    missing = []
    for pattern, test in NAMED.findall(PAGE):
        files = sorted(ROOT.glob(pattern))
        if not files or (test and not any(f"def {test}(" in file.read_text() for file in files)):
            missing.append((pattern, test))
    everything = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    missing += [("", test) for test in BARE.findall(PAGE) if f"def {test}(" not in everything]
    assert len(NAMED.findall(PAGE)) > 30
    assert not missing


def test_each_power_of_an_attacker_names_a_test() -> None:
    table = PAGE.split("## Who can do what harm", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| **")]
    assert len(rows) >= 11
    for row in rows:
        assert NAMED.search(row), row
