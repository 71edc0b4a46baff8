"""Whether everybody can use what a tab shows, as far as axe-core can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.browser.tab import Tab

_AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
_LOOK = "within => axe.run(within, {resultTypes: ['violations']})"


def problems_of(tab: Tab, within: str = "html") -> list[str]:
    """What axe finds that is serious or critical, within an element."""
    if not _AXE.exists():
        pytest.skip("axe-core is not there: npm installs it")
    if not tab.page.evaluate("'axe' in window"):
        tab.page.evaluate(_AXE.read_text())
    found = cast("dict[str, Any]", tab.page.evaluate(_LOOK, within))
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {(node['any'] or node['all'] or [{}])[0].get('message', '')}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
