"""Batches that are parts of one sending: a number stands in one of them only.

The chunks of a recipients file are batches of their own, planned by tasks that know nothing of each other. The first to
plan a number has it. What that one withdrew, or never began to send, another may take over; so a number that moves to
another chunk, because the file was corrected, is neither sent twice nor lost. What is in doubt goes along as it is: the
task that has the number now holds it, or sends it again, as its user wants.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.tables import family_member, submission
from airflow_provider_mm7.store.types import State

#: What is in these was not sent, and nobody is sending it.
_UNSENT = frozenset({State.PLANNED, State.RETRY})


def admit(
    connection: sa.Connection, family: str, batch_id: str, recipient_keys: Iterable[str], counts: Counts
) -> set[str]:
    """Take numbers into a batch of a family.

    :param counts: told of rows that leave other batches.
    :return: the keys that this batch is to plan. Of the others, some came along as they are; the rest another batch
        sends, or has sent.
    """
    # In order, so that two who plan the same numbers do not wait for each other crosswise.
    keys = sorted(set(recipient_keys))
    added = insert_into(connection.dialect.name, family_member).on_conflict_do_nothing()
    connection.execute(added, [{"family": family, "recipient_key": key, "batch_id": batch_id} for key in keys])
    query = (
        sa.select(family_member.c.recipient_key, family_member.c.batch_id)
        .where(family_member.c.family == family, family_member.c.recipient_key.in_(keys))
        .order_by(family_member.c.recipient_key)
        .with_for_update()
    )
    holders = {row.recipient_key: row.batch_id for row in connection.execute(query)}
    ours = {key for key, holder in holders.items() if holder == batch_id}
    free, doubtful = set[str](), set[str]()
    for holder in sorted({*holders.values()} - {batch_id}):
        held = [key for key, other in holders.items() if other == holder]
        unsent, in_doubt = _take_over(connection, holder, held, batch_id, counts)
        free |= unsent
        doubtful |= in_doubt
    if taken := sorted(free | doubtful):
        connection.execute(
            sa.update(family_member)
            .where(family_member.c.family == family, family_member.c.recipient_key.in_(taken))
            .values(batch_id=batch_id)
        )
    return ours | free


def _take_over(
    connection: sa.Connection, holder: str, keys: list[str], batch_id: str, counts: Counts
) -> tuple[set[str], set[str]]:
    """Take from a batch what it has not begun to send, and what it left in doubt.

    :return: keys to be planned: what it has not begun, or does not have any more; and keys whose rows came along.
    """
    query = (
        sa.select(*(submission.c[name] for name in ("id", "recipient_key", "state", "delivery")))
        .where(submission.c.batch_id == holder, submission.c.recipient_key.in_(keys))
        .order_by(submission.c.id)
        .with_for_update()
    )
    rows = connection.execute(query).all()
    unsent = [row for row in rows if row.state in _UNSENT]
    doubtful = [row for row in rows if row.state == State.UNKNOWN]
    if unsent:
        connection.execute(sa.delete(submission).where(submission.c.id.in_([row.id for row in unsent])))
    if doubtful:
        ids = [row.id for row in doubtful]
        connection.execute(sa.update(submission).where(submission.c.id.in_(ids)).values(batch_id=batch_id))
    for row in (*unsent, *doubtful):
        counts.remove(holder, row.state, row.delivery)
    for row in doubtful:
        counts.add(batch_id, row.state, row.delivery)
    left = {row.recipient_key for row in rows} - {row.recipient_key for row in unsent}
    return set(keys) - left, {row.recipient_key for row in doubtful}
