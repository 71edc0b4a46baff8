"""Names in addresses, and how the OpenAPI document describes them; who is asked for them checks them."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path, Query

from joblog.identity import AUDIT_NAMESPACE, MAX_NAME_LENGTH, RUN_LOG_TASK

NAME = r"[A-Za-z0-9_:+=~-][A-Za-z0-9._:+=~-]{0,249}"
_TASK = f"{RUN_LOG_TASK}|{NAME}"
_NUMBER = "[1-9][0-9]{0,9}"
LATEST = "latest"
ATTEMPT = re.compile(_NUMBER)
# The first `=` ends a label's key.
LABEL = r"^[A-Za-z0-9_:+~-][A-Za-z0-9._:+~-]{0,249}="


def _schema(pattern: str) -> dict[str, object]:
    return {"pattern": f"^({pattern})$", "maxLength": MAX_NAME_LENGTH}


Namespace = Annotated[
    str, Path(description="Namespace, as `default`", json_schema_extra=_schema(f"{AUDIT_NAMESPACE}|{NAME}"))
]
Run = Annotated[str, Path(description="Run", json_schema_extra=_schema(NAME))]
Task = Annotated[str, Path(description="Task; `@run` is the run's own log", json_schema_extra=_schema(_TASK))]
Attempt = Annotated[
    str, Path(description="An integer from 1, or `latest`", json_schema_extra=_schema(f"{LATEST}|{_NUMBER}"))
]
NumberedAttempt = Annotated[str, Path(description="An integer from 1", json_schema_extra=_schema(_NUMBER))]
OneTask = Annotated[str, Query(description="Only this task", json_schema_extra=_schema(f"|{_TASK}"))]
