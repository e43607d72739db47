"""Which alerts are sent, which are held back, and what was said of those, over all processes that share the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from airflow_provider_mm7.store.base import AnyRow, Base
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.tables import DUE_NOW, alert, alert_scope
from airflow_provider_mm7.store.text import identifier

_HELD: Final = "held"
_GOING: Final = "going"
_SENT: Final = "sent"
_TOLD: Final = "told"

#: Seconds after which what is still going was not sent: its process is gone. Several times what an alert may take.
LOST_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLimit:
    """How many alerts a scope may send.

    :ivar per_hour: alerts an hour in the long run.
    :ivar burst: alerts that may leave at once after a quiet time.
    """

    per_hour: float
    burst: int

    @property
    def interval(self) -> timedelta:
        """After which one more may leave."""
        return timedelta(hours=1 / self.per_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Alerts that were held back and nobody was told of.

    :ivar events: what they would have said happened, each kind once.
    :ivar first_at: when the first was held back.
    """

    count: int = 0
    events: tuple[str, ...] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What becomes of an alert.

    :ivar send: whether it may leave.
    :ivar known: whether it was asked for before, so that it counts no more.
    :ivar held_back: of an alert that may leave: what it has to tell of others.
    :ivar alert_id: of one that is held back, newer ones have higher ids.
    :ivar summary_due: of one that is held back: whether a summary may be sent now.
    """

    send: bool
    known: bool = False
    held_back: HeldBack = HeldBack()
    alert_id: int = 0
    summary_due: bool = False


class Alerts(Base):
    """The limit of alerts: a token bucket for each scope, and a list of what was asked for."""

    def ask_alert(self, scope: str, key: str, *, event: str, limit: AlertLimit | None) -> Ruling:
        """Decide whether an alert may leave, and count it.

        :param scope: whose limit it is.
        :param key: names the alert: asked again, the answer is the same and nothing is counted twice.
        :param event: what happened.
        :param limit: None: every alert may leave.
        """
        scope, key = identifier(scope), identifier(key)

        def ask(connection: sa.Connection) -> Ruling:
            now = self._clock()
            row = _lock(connection, scope)
            known = connection.execute(sa.select(alert.c.id, alert.c.state).where(alert.c.key == key)).one_or_none()
            if known is not None:
                return Ruling(send=known.state in (_GOING, _SENT), known=True, alert_id=known.id)
            paid_at = max(row.paid_at, now)
            send = limit is None or paid_at - now <= (limit.burst - 1) * limit.interval
            going = {"state": _GOING, "told_by": key, "going_at": now} if send else {"state": _HELD}
            held_back = _tell(connection, scope, key, now) if send else HeldBack()
            added = sa.insert(alert).values(key=key, scope=scope, event=event, asked_at=now, **going)
            made = connection.execute(added).inserted_primary_key
            alert_id = 0 if made is None else int(made[0])
            if not send:
                return Ruling(send=False, alert_id=alert_id, summary_due=row.summary_at <= now)
            if limit is not None:
                _change(connection, scope, paid_at=paid_at + limit.interval)
            return Ruling(send=True, held_back=held_back, alert_id=alert_id)

        return self._db.write(ask)

    def alert_sent(self, key: str) -> None:
        """Note that an alert or a summary has left, and what it tells of others with it.

        What is not noted within a minute counts as held back: its process was killed.
        """
        key = identifier(key)
        state = sa.case((alert.c.key == key, _SENT), else_=_TOLD)
        going = (alert.c.told_by == key, alert.c.state == _GOING)
        self._db.write(lambda connection: connection.execute(sa.update(alert).where(*going).values(state=state)))

    def alert_not_sent(self, key: str) -> None:
        """Count an alert or a summary that could not be sent, and what it was to tell of, among those held back."""
        going = (alert.c.told_by == identifier(key), alert.c.state == _GOING)
        back = sa.update(alert).where(*going).values(state=_HELD, told_by=None, going_at=None)
        self._db.write(lambda connection: connection.execute(back))

    def newest_held_alert(self, scope: str) -> int:
        """Give the id of the newest alert of a scope that was held back and that nobody was told of; 0: none."""
        return self._db.read(lambda connection: _newest_held(connection, identifier(scope)))

    def take_summary(self, scope: str, *, newest: int, limit: AlertLimit) -> tuple[str, HeldBack] | None:
        """Take what is to be told of the alerts that were held back. Nobody else gets it.

        :param newest: what :meth:`newest_held_alert` said.
        :return: the summary's key and what it tells; None: a newer alert was held back since, all is told, or the last
            summary is too recent.
        """
        scope = identifier(scope)

        def take(connection: sa.Connection) -> tuple[str, HeldBack] | None:
            now = self._clock()
            row = _lock(connection, scope)
            if row.summary_at > now or not newest or _newest_held(connection, scope) != newest:
                return None
            key = f"summary-{newest}"
            _change(connection, scope, summary_at=now + limit.interval)
            return key, _tell(connection, scope, key, now)

        return self._db.write(take)


def _lock(connection: sa.Connection, scope: str) -> AnyRow:
    made = insert_into(connection.dialect.name, alert_scope).values(scope=scope, paid_at=DUE_NOW, summary_at=DUE_NOW)
    connection.execute(made.on_conflict_do_nothing())
    # Locked on PostgreSQL; on SQLite this transaction is the only writer.
    query = sa.select(alert_scope.c.paid_at, alert_scope.c.summary_at).where(alert_scope.c.scope == scope)
    return connection.execute(query.with_for_update()).one()


def _newest_held(connection: sa.Connection, scope: str) -> int:
    query = sa.select(sa.func.max(alert.c.id)).where(alert.c.scope == scope, alert.c.state == _HELD)
    return connection.scalar(query) or 0


def _change(connection: sa.Connection, scope: str, **values: datetime) -> None:
    connection.execute(sa.update(alert_scope).where(alert_scope.c.scope == scope).values(**values))


def _tell(connection: sa.Connection, scope: str, told_by: str, now: datetime) -> HeldBack:
    lost = (alert.c.state == _GOING) & (alert.c.going_at < now - timedelta(seconds=LOST_S))
    held = (alert.c.scope == scope, (alert.c.state == _HELD) | lost)
    count, first, last = sa.func.count(), sa.func.min(alert.c.asked_at), sa.func.max(alert.c.asked_at)
    rows = connection.execute(
        sa.select(alert.c.event, count, first, last).where(*held).group_by(alert.c.event).order_by(alert.c.event)
    ).all()
    if not rows:
        return HeldBack()
    connection.execute(sa.update(alert).where(*held).values(state=_GOING, told_by=told_by, going_at=now))
    return _held_back(rows)


def _held_back(rows: Sequence[AnyRow]) -> HeldBack:
    return HeldBack(
        count=sum(row[1] for row in rows),
        events=tuple(row[0] for row in rows),
        first_at=min(row[2] for row in rows),
        last_at=max(row[3] for row in rows),
    )
