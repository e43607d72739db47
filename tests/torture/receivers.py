"""Receivers that are killed under load, and their database with them: what was acknowledged is in the store.

A callback is acknowledged in the moment in which the carrier has read status 1000. After each kill everything that was
acknowledged so far must be found, by somebody who looks from outside: reports by their MessageID, messages from
handsets with media whose bytes are those that were sent.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from airflow_provider_mm7.receiver import __main__ as program
from airflow_provider_mm7.store import Store
from airflow_provider_mm7.store.tables import inbound, report_event
from tests.torture import sabotage
from tests.torture.carrier import LOGIN, PASSWORD, Callback, Carrier
from tests.torture.ledgers import PostgresLedger, SQLiteLedger
from tests.torture.torment import TortureFailed

#: A kill comes so many acknowledgements after the start of its receiver at most, and so many seconds after these.
ACKNOWLEDGEMENTS, PAUSE_S = 60, 0.05
#: Share of the kills that come before a receiver has acknowledged anything: it opens the store, and recovers it.
EARLY, LEAD_S = 0.1, 0.3
#: Share of the kills that hit PostgreSQL: alone, or with the receiver.
SERVER = 0.2
#: Seconds in which a receiver that was not killed must acknowledge something.
ALIVE_S = 60.0

# Forked from a process that has imported everything, as the senders are.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.torture.sender", "tests.torture.receivers"])


@dataclass(slots=True, kw_only=True)
class Harvest:
    """What came out.

    :ivar kills: of receivers.
    :ivar servers: kills of the database's server, with the receiver or without.
    :ivar posts: requests, those that came again included.
    :ivar stored: callbacks that were acknowledged and are in the store; ``messages`` of them came from handsets.
    :ivar lost: callbacks that were acknowledged and are not in the store.
    :ivar twice: callbacks that are in the store more than once.
    """

    kills: int = 0
    servers: int = 0
    runs: int = 0
    posts: int = 0
    stored: int = 0
    messages: int = 0
    media: int = 0
    twice: int = 0
    lost: int = 0


@dataclass(slots=True)
class Contents:
    """What a store holds.

    :ivar reports: MessageIDs, as often as there are rows.
    :ivar messages: LinkedID and parts (URI, size, SHA-256), as often as there are rows.
    """

    reports: list[str] = field(default_factory=list)
    messages: list[tuple[str, list[tuple[str, int, str]]]] = field(default_factory=list)


class InFile(SQLiteLedger):
    """A file, of which a copy is looked at: the next receiver has to recover what the dead one left."""

    def contents(self) -> Contents:
        if not self.path.exists():
            return Contents()
        with self._copied() as store:
            return contents_of(store)


class OnServer(PostgresLedger):
    """A database of a server."""

    def contents(self) -> Contents:
        store = Store(self.url)
        try:
            self._wait_until_quiet(store)
            return contents_of(store)
        finally:
            store.close()


def contents_of(store: Store) -> Contents:
    """Read a store."""
    if store.current_revision() is None:
        return Contents()

    def read(connection: sa.Connection) -> Contents:
        rows = connection.execute(sa.select(inbound.c.linked_id, inbound.c.parts))
        return Contents(
            reports=list(connection.scalars(sa.select(report_event.c.message_id))),
            messages=[(name, [(part["uri"], part["size"], part["sha256"]) for part in parts]) for name, parts in rows],
        )

    return store._db.read(read)


class Running:
    """A receiver's process.

    :param damage: what is broken in it; see :mod:`tests.torture.sabotage`.
    """

    def __init__(self, url: str, port: int, folder: Path, damage: str | None) -> None:
        environ = {
            "MM7_SQL_ALCHEMY_CONN": url,
            "MM7_INBOUND_MEDIA_URI": str(folder / "inbound"),
            "MM7_CALLBACK_LOGIN": LOGIN,
            "MM7_CALLBACK_PASSWORD": PASSWORD,
            "MM7_PORT": str(port),
        }
        log = folder / "receiver.log"
        self._process = _processes.Process(target=_receive, args=(environ, log, damage), daemon=True)
        self._process.start()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill -9, and wait until it is dead."""
        assert self._process.pid is not None
        if self._process.exitcode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()


def _receive(environ: dict[str, str], log: Path, damage: str | None) -> None:
    os.environ.update(environ)
    logging.basicConfig(filename=log, level=logging.INFO, force=True)
    if damage is not None:
        getattr(sabotage, damage)()
    # Those of the process that it was spawned from are none of its own.
    del sys.argv[1:]
    raise SystemExit(program.main())


def torment_receivers(
    ledger: InFile | OnServer,
    *,
    kills: int,
    rng: random.Random,
    folder: Path,
    server: float = SERVER,
    damage: str | None = None,
) -> Harvest:
    """Kill a receiver so many times under load.

    :param server: share of the kills that hit PostgreSQL.
    :param damage: what is broken in the receiver.
    :raises TortureFailed: something that was acknowledged is not there, or is there twice.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    # PostgreSQL's tables are made by whoever sets it up, not by a receiver.
    store = Store(ledger.url)
    store.upgrade()
    store.close()
    carrier, harvest, checked = Carrier(port, rng), Harvest(), set[str]()
    running = Running(ledger.url, port, folder, damage)
    try:
        with carrier.calling():
            while harvest.kills < kills:
                harvest.runs += 1
                _let_it_run(carrier, rng)
                spared = isinstance(ledger, OnServer) and rng.random() < server and _server_dies(ledger, rng, harvest)
                if not spared:
                    running.kill()
                    harvest.kills += 1
                _check(ledger, carrier.snapshot(), harvest, checked)
                if not spared:
                    running = Running(ledger.url, port, folder, damage)
            before = len(carrier.snapshot())
            if not carrier.wait_for(before + 1, seconds=ALIVE_S):
                raise TortureFailed(f"nothing is acknowledged any more, after {harvest.kills} kills")
        running.kill()
        _check(ledger, carrier.snapshot(), harvest, checked, whole=True)
    finally:
        running.kill()
    harvest.posts = carrier.posts
    return harvest


def _let_it_run(carrier: Carrier, rng: random.Random) -> None:
    if rng.random() < EARLY:
        time.sleep(rng.uniform(0, LEAD_S))
        return
    count = len(carrier.snapshot()) + rng.randint(1, ACKNOWLEDGEMENTS)
    if not carrier.wait_for(count, seconds=ALIVE_S):
        raise TortureFailed("a receiver that runs acknowledges nothing")
    time.sleep(rng.uniform(0, PAUSE_S))


def _server_dies(ledger: OnServer, rng: random.Random, harvest: Harvest) -> bool:
    """Kill the server and start it again; tell whether the receiver is to live on."""
    ledger.server.kill()
    harvest.servers += 1
    time.sleep(rng.uniform(0, PAUSE_S))
    ledger.server.start()
    return rng.random() < 0.5


def _check(
    ledger: InFile | OnServer,
    acknowledged: dict[str, Callback],
    harvest: Harvest,
    checked: set[str],
    *,
    whole: bool = False,
) -> None:
    """Hold the store against what was acknowledged before it was looked at.

    :param checked: messages whose media were looked at; those of now are added.
    :param whole: whether nothing more can come: then there is nothing else in it, and all media are looked at again.
    """
    contents = ledger.contents()
    messages = dict(contents.messages)
    names = [*contents.reports, *messages]
    harvest.twice += len(contents.reports) - len(set(contents.reports)) + len(contents.messages) - len(messages)
    missing = set(acknowledged) - set(names)
    harvest.lost += len(missing)
    harvest.stored = len(acknowledged)
    harvest.messages = sum(bool(one.media) for one in acknowledged.values())
    where = f"(after {harvest.kills} kills)"
    if missing:
        raise TortureFailed(f"{len(missing)} callbacks were acknowledged and are not in the store {where}")
    if harvest.twice:
        raise TortureFailed(f"{harvest.twice} callbacks are in the store twice {where}")
    if whole and len(names) != len(acknowledged):
        raise TortureFailed(f"{len(names)} callbacks are in the store, {len(acknowledged)} were acknowledged {where}")
    for name in messages.keys() - checked if not whole else messages:
        # A row, acknowledged or not, never names what is not there.
        _must_have_media(messages[name])
    checked |= messages.keys()
    harvest.media = sum(map(len, messages.values()))
    for name, callback in acknowledged.items():
        if callback.media and tuple(sha256 for _, _, sha256 in messages[name]) != callback.media:
            raise TortureFailed(f"the media of {name} are not those that were sent {where}")


def _must_have_media(parts: list[tuple[str, int, str]]) -> None:
    for uri, size, sha256 in parts:
        try:
            body = Path(unquote(urlsplit(uri).path)).read_bytes()
        except FileNotFoundError:
            raise TortureFailed("a message is in the store whose media are not in their folder") from None
        if (len(body), hashlib.sha256(body).hexdigest()) != (size, sha256):
            raise TortureFailed("a message is in the store whose media are not whole")
