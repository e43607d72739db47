from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import StoreError
from airflow_provider_mm7.store import DeliverySummary, NewReport, NewSubmission, ReportKind, State, Store
from tests.store.conftest import START, Clock
from tests.store.make import accepted, claim, numbers, planned, report, settled


def delivery(store: Store, batch_id: str) -> dict[str, int]:
    return store.delivery_of_batches([batch_id])[batch_id].by_status


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


class TestStoredOnce:
    def test_repeats_are_told_apart_from_news(self, store: Store) -> None:
        accepted(store, 2)
        one, two = (f"m-{number}" for number in numbers(2))
        assert store.add_reports([report(one), report(two), report(one)]) == [True, True, False]
        assert store.add_reports([report(two), report(one, "Rejected")]) == [False, True]
        assert len(store.reports()) == 2
        assert len(store.report_history(one)) == 2

    def test_another_transaction_or_spelling_of_the_number_is_no_news(self, store: Store) -> None:
        one = report("m-1", recipient="+64 21 1/TYPE=PLMN", date=at(0), transaction_id="a")
        again = report("m-1", recipient="64211", date=at(0).astimezone(timezone(timedelta(hours=13))))
        assert store.add_reports([one, again]) == [True, False]

    @pytest.mark.parametrize(
        "other",
        [
            report("m-2", recipient="64211", date=at(0)),
            report("m-1", recipient="64212", date=at(0)),
            report("m-1", "Expired", recipient="64211", date=at(0)),
            report("m-1", recipient="64211", date=at(1)),
            report("m-1", recipient="64211"),
            report("m-1", recipient="64211", date=at(0), kind=ReportKind.READ),
        ],
    )
    def test_what_differs_is_news(self, store: Store, other: object) -> None:
        first = report("m-1", recipient="64211", date=at(0))
        assert store.add_reports([first, other]) == [True, True]  # type: ignore[list-item]

    def test_nothing_is_nothing(self, store: Store) -> None:
        assert store.add_reports([]) == []

    def test_a_large_group(self, store: Store) -> None:
        batch, items = accepted(store, 700)
        group = [report(str(item.message_id), recipient=item.recipient) for item in items]
        assert store.add_reports(group + group) == [True] * 700 + [False] * 700
        assert delivery(store, batch.batch_id) == {"Retrieved": 700}


class TestEffective:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_the_order_of_arrival_does_not_matter(self, store: Store, order: tuple[int, ...]) -> None:
        batch, (item,) = accepted(store)
        message_id = str(item.message_id)
        told = [
            report(message_id, "Deferred", date=at(9)),
            report(message_id, "Expired", date=at(1)),
            report(message_id, "Retrieved", date=at(5)),
            report(message_id, "Processing", date=at(0)),
        ]
        for n in order:
            store.add_reports([told[n]])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        (row,) = store.reports()
        assert (row.mm_status, row.date, row.batch_id) == ("Retrieved", at(5), batch.batch_id)
        assert [one.mm_status for one in store.report_history(message_id)] == [
            "Processing",
            "Expired",
            "Retrieved",
            "Deferred",
        ]
        assert store.submissions(batch.batch_id)[0].delivery == "Retrieved"

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_of_two_with_one_date_the_decisive_one_counts(self, store: Store, order: tuple[int, int]) -> None:
        batch, (item,) = accepted(store)
        told = [
            report(str(item.message_id), "Forwarded", date=at(1)),
            report(str(item.message_id), "Retrieved", date=at(1)),
        ]
        store.add_reports([told[n] for n in order])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}

    def test_without_dates_the_last_to_come_counts(self, store: Store, clock: Clock) -> None:
        batch, (item,) = accepted(store)
        for status in ("Expired", "Retrieved"):
            store.add_reports([report(str(item.message_id), status)])
            clock.advance(1)
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}

    def test_the_raw_text_is_kept(self, store: Store) -> None:
        store.add_reports([report("m-1", "UNKNOWN", recipient="64211", raw="Third:User Retrieved")])
        (row,) = store.reports()
        assert (row.mm_status, row.mm_status_raw) == ("UNKNOWN", "Third:User Retrieved")

    def test_a_read_reply_is_no_delivery(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        store.add_reports([report(str(item.message_id), "Read", kind=ReportKind.READ)])
        assert delivery(store, batch.batch_id) == {}
        store.add_reports([report(str(item.message_id))])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert [row.kind for row in store.reports(batch_id=batch.batch_id)] == [ReportKind.READ, ReportKind.DELIVERY]
        assert len(store.reports(kind=ReportKind.READ)) == 1


def reads(store: Store, batch_id: str) -> dict[tuple[str, str], int]:
    return store.delivery_of_batches([batch_id])[batch_id].by_read


def reply(message_id: str | None, status: str = "Read", **told: Any) -> NewReport:
    return report(str(message_id), status, kind=ReportKind.READ, **told)


class TestReadReplies:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_what_was_read_once_stays_read(self, store: Store, order: tuple[int, ...]) -> None:
        batch, (item,) = accepted(store)
        told = [
            reply(item.message_id, date=at(2)),
            reply(item.message_id, "Deleted", date=at(9)),
            reply(item.message_id, date=at(5)),
            reply(item.message_id, "Indeterminate", date=at(1)),
        ]
        for n in order:
            store.add_reports([told[n], told[n]])
        assert reads(store, batch.batch_id) == {("", "Read"): 1}
        (row,) = store.reports(kind=ReportKind.READ)
        assert (row.mm_status, row.date) == ("Read", at(5)), "the last time that it was read"
        assert [one.date for one in store.report_history(str(item.message_id))] == [at(1), at(2), at(5), at(9)]
        assert store.submissions(batch.batch_id)[0].read == "Read"

    def test_of_what_was_not_read_the_newest_counts(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        for status, minute in (("Deleted", 5), ("Indeterminate", 1)):
            store.add_reports([reply(item.message_id, status, date=at(minute))])
        assert reads(store, batch.batch_id) == {("", "Deleted"): 1}

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_they_are_counted_by_what_became_of_the_delivery(self, store: Store, order: tuple[int, ...]) -> None:
        batch, items = accepted(store, 3)
        told = [
            report(str(items[0].message_id), "Deferred", date=at(0)),
            report(str(items[0].message_id), "Retrieved", date=at(1)),
            reply(items[0].message_id, date=at(2)),
            reply(items[1].message_id, "Deleted", date=at(2)),
        ]
        for n in order:
            store.add_reports([told[n]])
        assert reads(store, batch.batch_id) == {("Retrieved", "Read"): 1, ("", "Deleted"): 1}
        assert [item.read for item in store.submissions(batch.batch_id)] == ["Read", "Deleted", None]

    def test_before_the_acceptance_and_with_the_names_reversed(self, store: Store) -> None:
        batch = planned(store, 2)
        one, two = numbers(2)
        store.add_reports([reply("m-1", recipient="111122", sender=one), report("m-1", recipient="111122", sender=one)])
        store.add_reports([reply("m-1", recipient=two, sender="111122")])
        assert reads(store, batch.batch_id) == {}
        store.settle(batch.batch_id, settled(claim(store, batch, group=2), message_id="m-1"))
        assert reads(store, batch.batch_id) == {("Retrieved", "Read"): 1, ("", "Read"): 1}
        store.add_reports([reply("m-1", "Deleted", recipient="111122", sender=two, date=at(0))])
        assert reads(store, batch.batch_id) == {("Retrieved", "Read"): 1, ("", "Read"): 1}

    def test_all_in_one_group(self, store: Store) -> None:
        batch, items = accepted(store, 300)
        group = [reply(item.message_id) for item in items] + [report(str(item.message_id)) for item in items]
        assert store.add_reports(group + group) == [True] * 600 + [False] * 600
        assert reads(store, batch.batch_id) == {("Retrieved", "Read"): 300}

    def test_of_messages_that_are_asked_for_by_id(self, store: Store) -> None:
        _, items = accepted(store, 2)
        store.add_reports([reply(items[0].message_id), report(str(items[0].message_id))])
        store.add_reports([reply("elsewhere", recipient=number) for number in numbers(2)])
        summary = store.delivery_of_messages([str(items[0].message_id), str(items[1].message_id), "elsewhere"])
        assert summary.by_read == {("Retrieved", "Read"): 1, ("", "Read"): 2}
        assert (summary.accepted, summary.by_status) == (4, {"Retrieved": 1})


class TestMatching:
    def test_one_submission_is_meant_however_the_number_is_written(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        store.add_reports([report(str(item.message_id), "Deferred", recipient="0800 SHORT", date=at(0))])
        store.add_reports([report(str(item.message_id), recipient=item.recipient, date=at(1))])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert len(store.reports(batch_id=batch.batch_id)) == 1

    def test_no_address_at_all(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        store.add_reports([report(str(item.message_id), recipient="")])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}

    def test_reversed_names_are_put_right(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        store.add_reports([report(str(item.message_id), recipient="111122", sender=item.recipient)])
        (row,) = store.reports(batch_id=batch.batch_id)
        assert (row.recipient, row.sender) == (item.recipient, "111122")

    def test_several_recipients_of_one_message_have_their_own_reports(self, store: Store) -> None:
        batch = planned(store, 3)
        items = claim(store, batch, group=3)
        store.settle(batch.batch_id, settled(items, message_id="shared"))
        store.add_reports(
            [
                report("shared", "Retrieved", recipient=items[0].recipient),
                report("shared", "Rejected", recipient="111122", sender=items[1].recipient.removeprefix("+")),
                report("shared", "Expired", recipient="+99999999"),
            ]
        )
        assert delivery(store, batch.batch_id) == {"Retrieved": 1, "Rejected": 1}
        assert [item.delivery for item in store.submissions(batch.batch_id)] == ["Retrieved", "Rejected", None]
        stranger = [row.recipient for row in store.reports() if row.batch_id is None]
        assert stranger == ["+99999999"]

    def test_reversed_reports_of_several_recipients_at_one_moment_are_not_one(self, store: Store) -> None:
        batch = planned(store, 2)
        items = claim(store, batch, group=2)
        told = [report("shared", recipient="111122", sender=item.recipient, date=at(0)) for item in items]
        store.add_reports(told[:1])
        store.settle(batch.batch_id, settled(items, message_id="shared"))
        assert store.add_reports(told) == [False, True]
        assert delivery(store, batch.batch_id) == {"Retrieved": 2}

    def test_one_number_twice_in_a_request(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        store.plan(batch.batch_id, [NewSubmission(recipient="+64211", row=row) for row in (1, 2)])
        store.settle(batch.batch_id, settled(claim(store, batch, group=2), message_id="shared"))
        store.add_reports([report("shared", recipient="64211")])
        assert delivery(store, batch.batch_id) == {"Retrieved": 2}


class TestEarly:
    def test_a_report_that_comes_first_is_matched_by_the_settlement(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        message_id = f"m-{items[0].recipient}"
        store.add_reports([report(message_id, "Deferred", date=at(1)), report(message_id, date=at(2))])
        assert store.reports()[0].batch_id is None
        assert delivery(store, batch.batch_id) == {}
        store.settle(batch.batch_id, settled(items))
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert store.add_reports([report(message_id, date=at(2))]) == [False]
        assert store.reports(batch_id=batch.batch_id)[0].mm_status == "Retrieved"

    def test_early_and_reversed_and_straight_become_one(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.add_reports(
            [
                report("m-x", recipient="111122", sender=items[0].recipient, date=at(2)),
                report("m-x", "Deferred", recipient=items[0].recipient, date=at(3)),
                report("m-x", "Expired", recipient="odd", date=at(1)),
            ]
        )
        assert len(store.reports()) == 3
        store.settle(batch.batch_id, settled(items, message_id="m-x"))
        (row,) = store.reports()
        assert (row.recipient, row.sender, row.mm_status) == (items[0].recipient, "111122", "Retrieved")
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert len(store.report_history("m-x")) == 3

    def test_for_several_recipients(self, store: Store) -> None:
        batch = planned(store, 3)
        items = claim(store, batch, group=3)
        store.add_reports(
            [
                report("shared", "Expired", recipient="111122", sender=items[2].recipient),
                report("shared", "Retrieved", recipient=items[0].recipient),
            ]
        )
        store.settle(batch.batch_id, settled(items, message_id="shared"))
        assert [item.delivery for item in store.submissions(batch.batch_id)] == ["Retrieved", None, "Expired"]

    def test_a_refusal_matches_nothing(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.add_reports([report("m-x", recipient=items[0].recipient)])
        store.settle(batch.batch_id, settled(items, State.REFUSED))
        assert delivery(store, batch.batch_id) == {}

    def test_a_late_acceptance_of_an_unknown_row_matches_too(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle_abandoned(batch.batch_id, is_alive=lambda _: False)
        store.add_reports([report(f"m-{items[0].recipient}")])
        store.settle(batch.batch_id, settled(items))
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}


class TestOddValues:
    def test_nothing_a_peer_says_costs_the_report(self, store: Store) -> None:
        odd = [
            report("m\0\ud800", recipient="+64211\0", raw="\0" * 10),
            report("i" * 10_000, recipient="r" * 10_000, sender="s" * 10_000, raw="x" * 100_000),
            report("i" * 9_999 + "j", recipient="r"),
            report("m-naive", recipient="1", date=datetime(2026, 1, 1, 12, 0)),  # noqa: DTZ001
            report("m-first", recipient="1", date=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
            report("m-last", recipient="1", date=datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))),
            report("m-year-one", recipient="1", date=datetime(1, 1, 1, tzinfo=UTC)),
        ]
        assert store.add_reports(odd) == [True] * 7
        assert store.add_reports(odd) == [False] * 7
        dates = {row.message_id: row.date for row in store.reports()}
        assert dates["m-naive"] == datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        assert dates["m-first"] is None
        assert dates["m-year-one"] == datetime(1, 1, 1, tzinfo=UTC)

    def test_a_long_message_id_still_matches(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items, message_id="long" * 1000))
        store.add_reports([report("long" * 1000, recipient=items[0].recipient)])
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert len(store.reports(message_id="long" * 1000)) == 1

    def test_one_that_cannot_be_stored_does_not_cost_the_others(self, store: Store) -> None:
        batch, (item,) = accepted(store)
        group = [report(str(item.message_id)), report("poison", recipient="+64219999999"), report("m-2", recipient="2")]
        with poison_refused(store), pytest.raises(StoreError) as caught:
            store.add_reports(group)
        assert caught.value.results == (True, None, True)  # type: ignore[attr-defined]
        assert "9999999" not in str(caught.value)
        assert delivery(store, batch.batch_id) == {"Retrieved": 1}
        assert {row.message_id for row in store.reports()} == {item.message_id, "m-2"}


@contextmanager
def poison_refused(store: Store) -> Iterator[None]:
    """Let the database itself refuse one MessageID."""
    if store.dialect == "sqlite":
        raising = "BEGIN SELECT RAISE(ABORT, 'poison'); END"
        begin = f"CREATE TRIGGER poison BEFORE INSERT ON mm7_report WHEN NEW.message_id = 'poison' {raising}"
        end = "DROP TRIGGER poison"
    else:
        begin = "ALTER TABLE mm7_report ADD CONSTRAINT poison CHECK (message_id <> 'poison')"
        end = "ALTER TABLE mm7_report DROP CONSTRAINT poison"
    store._db.write(lambda connection: connection.execute(sa.text(begin)))
    try:
        yield
    finally:
        store._db.write(lambda connection: connection.execute(sa.text(end)))


class TestAsking:
    def test_delivery_of_batches(self, store: Store) -> None:
        batch = planned(store, 8)
        items = claim(store, batch, 5)
        store.settle(batch.batch_id, settled(items[:3]))
        store.settle(batch.batch_id, settled(items[3:4], State.RETRY))
        store.add_reports([report(f"m-{items[0].recipient}"), report(f"m-{items[1].recipient}", "Deferred")])
        other, _ = accepted(store, 1, key="other")
        found = store.delivery_of_batches([batch.batch_id, other.batch_id, "b0"])
        assert found == {
            batch.batch_id: DeliverySummary(
                batch_id=batch.batch_id,
                total=8,
                accepted=3,
                unsent=5,
                by_status={"Retrieved": 1, "Deferred": 1},
            ),
            other.batch_id: DeliverySummary(batch_id=other.batch_id, total=1, accepted=1, unsent=0, by_status={}),
        }
        assert store.delivery_of_batches([]) == {}

    def test_a_batch_with_nothing_planned_is_known(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].total == 0

    def test_delivery_of_messages_sent_anywhere(self, store: Store) -> None:
        batch = planned(store, 2)
        store.settle(batch.batch_id, settled(claim(store, batch, group=2), message_id="shared"))
        store.add_reports(
            [
                report("elsewhere", recipient="1"),
                report("several", recipient="1"),
                report("several", "Rejected", recipient="2"),
                report("shared", recipient=numbers(2)[0]),
                report("not asked", recipient="1"),
                report("elsewhere", "Read", recipient="1", kind=ReportKind.READ),
            ]
        )
        found = store.delivery_of_messages(["elsewhere", "several", "shared", "silent", "silent"])
        assert found == DeliverySummary(
            batch_id=None,
            total=6,
            accepted=6,
            unsent=0,
            by_status={"Retrieved": 3, "Rejected": 1},
            by_read={("Retrieved", "Read"): 1},
        )
        assert store.delivery_of_messages([]).total == 0

    def test_reports_by_batch_message_time_and_page(self, store: Store, clock: Clock) -> None:
        batch, items = accepted(store, 3)
        for item in items:
            store.add_reports([report(str(item.message_id))])
            clock.advance(60)
        assert len(store.reports(batch_id=batch.batch_id)) == 3
        assert [row.message_id for row in store.reports(message_id=str(items[1].message_id))] == [items[1].message_id]
        assert len(store.reports(since=START + timedelta(seconds=60))) == 2
        first = store.reports(limit=2)
        assert [row.message_id for row in store.reports(after_id=first[-1].id)] == [items[2].message_id]

    def test_history_of_one_recipient(self, store: Store) -> None:
        store.add_reports(
            [
                report("s", recipient="+64 21 1"),
                report("s", recipient="111122", sender="64212"),
                report("s", recipient="3"),
            ]
        )
        assert [one.recipient for one in store.report_history("s", "64211")] == ["+64 21 1"]
        assert [one.sender for one in store.report_history("s", "+64212")] == ["64212"]
