"""The table of permissions in docs/security.md is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from joblog.leader.access.roles import NAMESPACED, ROLES, Permission

PAGE = Path(__file__).parents[3] / "docs" / "security.md"


def test_the_table_of_roles() -> None:
    text = PAGE.read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    head = next(row for row in rows if row[0] == "permission")
    roles = head[1:-1]
    assert set(roles) == set(ROLES)
    found = [row for row in rows if re.fullmatch(r"`[a-z]+\.[a-z]+`", row[0]) and len(row) == len(head)]
    assert [row[0].strip("`") for row in found] == [str(permission) for permission in Permission]
    for row in found:
        permission = Permission(row[0].strip("`"))
        said = {role for role, cell in zip(roles, row[1:-1], strict=True) if cell == "yes"}
        assert said == {role for role, permissions in ROLES.items() if permission in permissions}, permission
        assert row[-1]
    # "A permission of the first five rows is held there".
    assert {Permission(row[0].strip("`")) for row in found[:5]} == NAMESPACED
