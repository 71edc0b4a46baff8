"""Prints the OpenAPI document of the leader's HTTP API, as it is served at /api/v1/openapi.json.

Usage: python docs/openapi.py
"""

from __future__ import annotations

import json
import sys
from typing import cast

from joblog.leader.api.http.app import make_routes
from joblog.leader.api.http.context import ApiContext

# Routes look at their context when they are called, which none is here.
NOBODY = cast(ApiContext, None)

json.dump(make_routes(NOBODY).openapi(), sys.stdout, indent=1, sort_keys=True)
