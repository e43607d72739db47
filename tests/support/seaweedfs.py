"""Fixture: a real S3 server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import SeaweedFS


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS on free loopback ports; ended with the session."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server
