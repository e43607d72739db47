"""Pauses and tries by themselves."""

from __future__ import annotations

from airflow_provider_mm7.exceptions import AccessDenied, MM7Error, NotSent, RecipientError, ThrottledOrDown
from airflow_provider_mm7.sending.outcome import failed
from airflow_provider_mm7.sending.patience import Patience, Tries
from airflow_provider_mm7.store import State, Submission

PATIENCE = Patience(jitter=0.0)


def test_pauses_grow_to_the_longest_one() -> None:
    assert [PATIENCE.pause_s(before) for before in range(6)] == [1, 2, 4, 7, 7, 7]
    assert PATIENCE.pause_s(500) == 7


def test_chance_makes_a_pause_longer_and_never_shorter() -> None:
    pauses = {Patience(jitter=0.1).pause_s(1) for _ in range(100)}
    assert min(pauses) >= 2
    assert max(pauses) <= 2.2
    assert len(pauses) > 50


def test_the_defaults_sit_out_a_restart_and_do_not_keep_a_single_message_long() -> None:
    """All tries of one message, all probes of an outage: both last for the same time."""
    pauses = [PATIENCE.pause_s(before) for before in range(PATIENCE.probes)]
    assert PATIENCE.tries == PATIENCE.probes + 1
    assert 20 < sum(pauses) < 25
    assert sum(pauses) * (1 + Patience().jitter) < Patience().enough_s


class TestTries:
    @staticmethod
    def due(tries: Tries, error: MM7Error, *ids: int) -> list[float | None]:
        group = [Submission(id=key, batch_id="b", row=0, recipient="+6421", state=State.SENDING) for key in ids]
        return [item.retry_after_s for item in tries.postpone(failed(group, error))]

    def test_each_message_is_tried_so_often_with_growing_pauses(self) -> None:
        tries = Tries(PATIENCE)
        down = NotSent("refused")
        assert [self.due(tries, down, 1)[0] for _ in range(6)] == [1, 2, 4, 7, 7, None]
        assert self.due(tries, down, 2, 3) == [1, 1]

    def test_what_the_mmsc_asks_for_is_kept(self) -> None:
        tries = Tries(PATIENCE)
        assert self.due(tries, ThrottledOrDown("429", http_status=429, retry_after_s=5), 1) == [5]
        assert self.due(tries, ThrottledOrDown("429", http_status=429, retry_after_s=1), 1) == [2]
        assert self.due(tries, ThrottledOrDown("429", http_status=429, retry_after_s=3600), 1) == [None]

    def test_nothing_else_is_tried_again(self) -> None:
        tries = Tries(PATIENCE)
        for error in (AccessDenied("401", http_status=401), RecipientError("media", "not there", "Put it there")):
            assert self.due(tries, error, 1) == [None]
        assert not tries
