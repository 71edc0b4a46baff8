"""What is behind the pages: an archive and backups on a real S3 server."""

from __future__ import annotations

import pytest

from tests.browser.tab import Site
from tests.object_servers import rgw_missing


def test_the_archive_is_on_a_real_server(site: Site) -> None:
    site.machine.run("archived/t", "seq 5000")
    site.archived("archived/t")
    objects = site.objects(site.archive)
    assert any("/archived/t/" in key and size > 1000 for key, size in objects.items()), objects
    if reason := rgw_missing():
        pytest.skip(f"THE BROWSER TESTS RAN WITH MOTO, no real S3 server, as their archive: {reason}")
