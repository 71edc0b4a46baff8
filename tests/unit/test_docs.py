"""What the documents say is what the code does: settings, samples, links."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from joblog.leader.settings import LeaderSettings
from joblog.settings import Settings, declared, load
from joblog.values import show
from joblog.worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, type[Settings]] = {"leader": LeaderSettings, "worker": WorkerSettings}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_is_in_the_sample_with_its_default(program: str, tmp_path: Path) -> None:
    sample = (ROOT / "config" / f"{program}.toml").read_text()
    for item in declared(PROGRAMS[program]):
        assert f"\n# {item.key.rpartition('.')[2]} = {show(item.rule, item.default)}\n" in sample
        assert item.variable in sample
        assert item.rule.doc, item.key
    assert load(PROGRAMS[program], file=ROOT / "config" / f"{program}.toml").sources == {}
    # With every comment sign before a setting taken away it sets each of them, to its default.
    file = tmp_path / f"{program}.toml"
    file.write_text(re.sub(r"^# (\w+ = )", r"\1", sample, flags=re.MULTILINE))
    file.chmod(0o600)
    loaded = load(PROGRAMS[program], file=file)
    assert loaded.values == PROGRAMS[program]()
    assert set(loaded.sources) == {item.key for item in declared(PROGRAMS[program])}


def test_units_are_in_the_names() -> None:
    for kind in PROGRAMS.values():
        for item in declared(kind):
            suffix = {"bytes": "_bytes", "seconds": "_seconds", "days": "_days", "hours": "_hours", "": ""}[
                item.rule.unit
            ]
            assert item.key.endswith(suffix), item.key


def test_programs_agree_on_what_they_share() -> None:
    shared: dict[str, Any] = {}
    for kind in PROGRAMS.values():
        for item in declared(kind):
            same = shared.setdefault(item.key, item.rule._replace(doc=""))
            assert same == item.rule._replace(doc=""), item.key
    assert "data_dir" in shared


def test_generated_files_are_up_to_date() -> None:
    for file, text in generator().documents().items():
        assert file.read_text() == text, f"{file}: run `make docs`"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_every_page_is_reachable_from_the_readme() -> None:
    found, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        links = LINK.findall(FENCE.sub("", page.read_text()))
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links if not re.match(r"[a-z]+:|#", link)]
    assert not set(PAGES) - found, "link them: from README.md, or decisions from docs/design.md"
