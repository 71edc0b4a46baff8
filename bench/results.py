"""What benchmarks found: figures with the target beside each, shown at once and kept as JSON for the report."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
# All benchmarks, in the order in which they are run.
NAMES = (
    *("ingest", "agent", "tail", "many", "viewers", "overhead", "read", "archive", "cost", "backup"),
    *("catalog", "retention"),
)


class Figure(NamedTuple):
    """One figure. target: None where there is none; reached when the value is at most it, or at least it."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}".rstrip()
        return f"≥ {self.at_least:g} {self.unit}".rstrip() if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the target was reached, as a word; empty where there is none."""
        if self.at_most is not None:
            return "reached" if self.value <= self.at_most else "missed"
        if self.at_least is not None:
            return "reached" if self.value >= self.at_least else "missed"
        return ""

    @property
    def shown(self) -> str:
        """Value and unit, with three digits that count."""
        text = f"{self.value:.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        return f"{text} {self.unit}".rstrip()


class Result:
    """The figures of one benchmark, gathered with `add`, then `keep`."""

    def __init__(self, name: str, *, quick: bool) -> None:
        self.name = name
        self.quick = quick
        self.figures: list[Figure] = []
        self._load_before = os.getloadavg()[0]

    def add(
        self, name: str, value: float, unit: str = "", *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Adds a figure and shows it."""
        figure = Figure(name, value, unit, at_most, at_least)
        self.figures.append(figure)
        beside = f"   (target {figure.target}: {figure.verdict})" if figure.target else ""
        print(f"{self.name}: {name}: {figure.shown}{beside}", flush=True)

    def keep(self, folder: Path = RESULTS) -> None:
        """Writes the figures to <folder>/<name>.json; a quick run's to <name>.quick.json, which no report uses."""
        folder.mkdir(exist_ok=True)
        content = {
            "name": self.name,
            "quick": self.quick,
            "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python "
            f"{platform.python_version()}",
            "load_before": round(self._load_before, 2),
            "figures": [figure._asdict() for figure in self.figures],
        }
        suffix = ".quick.json" if self.quick else ".json"
        (folder / f"{self.name}{suffix}").write_text(json.dumps(content, indent=2) + "\n")


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """What full runs kept, by name; each with its figures as Figures."""
    found = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if not content["quick"]:
            content["figures"] = [Figure(**figure) for figure in content["figures"]]
            found.append(content)
    return found


def arguments(description: str) -> argparse.Namespace:
    """The command line of every benchmark: --quick."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run that shows that it works; not for the report")
    return parser.parse_args()
