from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import redis_server
from tests.support.redis_server import RedisFailed, program


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RedisFailed, match=re.escape("no redis-server")):
        program()
    own = tmp_path / "redis-server"
    own.touch(mode=0o700)
    assert program() == str(own)
