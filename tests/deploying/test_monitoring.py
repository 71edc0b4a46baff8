"""Alerts and dashboard: valid PromQL, over metrics that a leader has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.deploying.conftest import ROOT
from tests.e2e.machine import Machine
from tests.https import open_url

ALERTS = ROOT / "config/prometheus/joblog.yaml"
DASHBOARD = ROOT / "config/grafana/joblog.json"
# Of the dashboard's own variables, as Grafana would fill them in.
VARIABLES = {"$__rate_interval": "5m", "$job": ".*"}


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def _queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    for name, value in VARIABLES.items():
        queries = [query.replace(name, value) for query in queries]
    return queries


def _selectors(node: Any) -> Iterator[Any]:
    """All selectors of metrics in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from _selectors(node.lhs)
        yield from _selectors(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _selectors(argument)
    elif not isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral):
        yield from _selectors(node.expr)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The names of a real leader's series, and the type of each."""
    machine = Machine(tmp_path_factory.mktemp("metrics") / "data")
    # A collector that is not there: what the export counts is there all the same.
    machine.environment["JOBLOG_OTLP_EXPORT_ENDPOINT"] = "http://127.0.0.1:1"
    machine.start_up()
    try:
        with open_url(machine.data_dir, "/metrics") as reply:
            text = reply.read().decode()
    finally:
        machine.stop_up()
    names: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names |= {name + suffix: kind for suffix in suffixes}
    yield names


def test_all_metrics_that_are_asked_for_exist(metrics: dict[str, str]) -> None:
    queries = [rule["expr"] for rule in _rules()] + _queries()
    asked = {selector.name for query in queries for selector in _selectors(promql_parser.parse(query))}

    assert len(asked) > 25
    assert asked <= metrics.keys(), asked - metrics.keys()


def test_counters_are_taken_by_their_rate_and_gauges_as_they_are(metrics: dict[str, str]) -> None:
    for query in [rule["expr"] for rule in _rules()] + _queries():
        for node in _calls(promql_parser.parse(query)):
            for selector in _selectors(node):
                assert metrics[selector.name] in ("counter", "histogram"), f"{query}: no rate of a gauge"


def _calls(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase"):
        yield node
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from _calls(node.lhs)
        yield from _calls(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _calls(argument)
    elif isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr):
        yield from _calls(node.expr)


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    rules = _rules()

    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_panels_lie_side_by_side_and_have_ids_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_chart_and_folders_share_one_file_each() -> None:
    for path in (ALERTS, DASHBOARD):
        assert Path(path).resolve().parent == ROOT / "config/helm/joblog/files"
