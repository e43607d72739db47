"""What the page on operations tells administrators to enter: done as written, as far as one machine can."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from airflow.cli.cli_parser import get_parser

from airflow_provider_mm7.exceptions import StoreError
from airflow_provider_mm7.receiver.config import BODY_TIMEOUT_S, MAX_BODY_BYTES
from airflow_provider_mm7.receiver.serve import KEEP_ALIVE_S, SHUTDOWN_S
from airflow_provider_mm7.store import Store, open_store
from tests.docs.pages import DOCS, blocks
from tests.store import make
from tests.support.mmsc import mmsc
from tests.support.postgres_server import Postgres
from tests.support.sending import numbers, run, states

PAGE = DOCS / "operations.rst"


def block(language: str, words: str) -> str:
    (found,) = (one.text for one in blocks(language) if one.page == PAGE and words in one.text)
    return found


def statements(words: str) -> list[str]:
    return [statement.strip() for statement in block("sql", words).split(";") if statement.strip()]


@pytest.fixture
def server(postgres_server: Postgres) -> Iterator[Postgres]:
    """A server without the page's database and logins; those are taken away in the end."""
    yield postgres_server
    postgres_server.execute("DROP DATABASE IF EXISTS mm7 WITH (FORCE)")
    for role in ("mm7", "mm7_user", "mm7_owner"):
        postgres_server.execute(f"DROP ROLE IF EXISTS {role}")


def url_of(server: Postgres, role: str) -> str:
    url = sa.make_url(server.url("mm7")).set(username=role, password="choose-one")
    return url.render_as_string(hide_password=False)


def use(url: str) -> None:
    """Do with a store what senders, receivers and those who clean up do."""
    store = Store(url)
    try:
        store.heartbeat("receiver", "host", 1)
        assert store.check().ok
        with mmsc() as centre:
            result = run(store, centre.url, numbers(5), rate_per_s=1000)
        assert states(result) == {"accepted": 5}
        assert store.add_reports([make.report(str(result.messages[0].message_id))]) == [True]
        assert store.prune(datetime.now(UTC) + timedelta(days=1)).submissions == 5
    finally:
        store.close()


@pytest.mark.postgres
def test_a_login_of_its_own(server: Postgres) -> None:
    for statement in statements("OWNER mm7;"):
        server.execute(statement)
    open_store(url_of(server, "mm7"), migrate=True).close()
    use(url_of(server, "mm7"))


@pytest.mark.postgres
def test_those_who_run_need_not_own_the_tables(server: Postgres) -> None:
    for statement in statements("OWNER mm7_owner;"):
        server.execute(statement)
    for statement in statements("DEFAULT PRIVILEGES"):
        server.execute(statement, database="mm7")
    user = url_of(server, "mm7_user")
    with pytest.raises(StoreError):
        open_store(user, migrate=True)
    open_store(url_of(server, "mm7_owner").replace("choose-one", "choose-another"), migrate=True).close()
    use(user)


def seconds(directive: str, text: str) -> int:
    (value,) = re.findall(rf"^\s*{directive} (\d+)s;", text, re.MULTILINE)
    return int(value)


def test_nginx_bounds_less_than_the_receiver() -> None:
    text = block("nginx", "proxy_pass")
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) * 2**20 > MAX_BODY_BYTES
    assert seconds("keepalive_timeout", text) < KEEP_ALIVE_S
    assert seconds("client_body_timeout", text) >= BODY_TIMEOUT_S
    assert "X-Forwarded-For $remote_addr;" in text
    assert text.count("{") == text.count("}")


def test_kubernetes_runs_what_there_is() -> None:
    deployment: dict[str, Any] = yaml.safe_load(block("yaml", "mm7-receiver"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    parser: ArgumentParser = get_parser()
    asked = parser.parse_args(command[1:])
    assert (command[0], asked.host, asked.port) == ("airflow", "0.0.0.0", container["ports"][0]["containerPort"])
    assert pod["terminationGracePeriodSeconds"] > SHUTDOWN_S
    assert container["readinessProbe"]["httpGet"] == {"path": "/mm7/health", "port": asked.port}
