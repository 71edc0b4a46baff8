"""Puts what the benchmarks kept into docs/benchmarks.md, between its markers: each figure with the target beside it.

python -m bench.report
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.results import NAMES, read_results

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN = "<!-- figures: written by python -m bench.report -->"
END = "<!-- end of figures -->"


def figures(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: a table for each benchmark, and which benchmarks have none."""
    parts = []
    if without := [f"`{name}`" for name in NAMES if name not in {result["name"] for result in results}]:
        parts.append(
            f"Not measured in full yet, so nothing is claimed of them: {', '.join(without)}. "
            "`make bench BENCH=NAME` does."
        )
    for result in results:
        head = (
            f"### {result['name']}\n\n{result['when'][:10]}, {result['machine']}, load before: {result['load_before']}"
        )
        rows = ["| what | found | target | |", "| --- | --- | --- | --- |"]
        for figure in result["figures"]:
            verdict = f"**{figure.verdict}**" if figure.verdict == "missed" else figure.verdict
            rows.append(f"| {figure.name} | {figure.shown} | {figure.target} | {verdict} |")
        parts.append(head + "\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def main() -> int:
    """Writes the page; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{PAGE}: has not both of its markers, {BEGIN} and {END}", file=sys.stderr)
        return 1
    PAGE.write_text(f"{before}{BEGIN}\n\n{figures(read_results())}\n\n{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
