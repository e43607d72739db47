"""A word from a handset, posted to the receiver: recorded before it is answered, and only where it is meant."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import httpx
import pytest

from airflow_provider_mm7.protocol.keywords import Keywords
from airflow_provider_mm7.receiver import CallbackCredentials, ConsentRules, Scope
from airflow_provider_mm7.receiver.consent import MAX_SHORT_CODES
from airflow_provider_mm7.store import NewInbound, Store, connection_scope, open_store, short_code_scope
from tests.receiver import callbacks
from tests.receiver.conftest import Rig

URL = "/mm7/callback"
HERE = connection_scope("mm7_default")
CODE = short_code_scope(callbacks.SENDER)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def anywhere(request: pytest.FixtureRequest, rig: Rig) -> Rig:
    """A receiver on either database."""
    if request.param == "postgres":
        rig.url = rig.real_url = request.getfixturevalue("postgres_url")
        open_store(rig.url, migrate=True)
    return rig


def rules(rig: Rig, **values: Any) -> None:
    rig.directory.entries["mm7_default"] = CallbackCredentials(
        login="vasp", password="secret", consent=ConsentRules(**values)
    )


async def post(client: httpx.AsyncClient, text: str | bytes | None, url: str = URL, **values: Any) -> httpx.Response:
    body, content_type = callbacks.say(text, **values)
    return await client.post(url, content=body, headers=callbacks.headers(content_type))


def standing(store: Store, number: str = callbacks.RECIPIENT, scope: str = HERE) -> bool | None:
    found = store.find_opt_out(scope, number)
    return None if found is None else found.opted_out


async def test_it_is_recorded_before_1000_is_answered(anywhere: Rig) -> None:
    async with anywhere.client() as client:
        answer = await post(client, "Stop!\nSent from my phone", date="2026-01-02T03:04:05Z")
        assert b"<StatusCode>1000</StatusCode>" in answer.content
        (row,) = anywhere.store.opt_outs()
        await post(client, "START", transaction_id="tx-2")
    assert (row.scope, row.number, row.source, row.keyword) == (HERE, callbacks.RECIPIENT, "message", "stop")
    assert (row.conn_id, str(row.said_at), row.confirmation) == ("mm7_default", "2026-01-02 03:04:05+00:00", "due")
    assert standing(anywhere.store) is False
    assert [one.message.text for one in anywhere.store.inbound()] == ["Stop!\nSent from my phone", "START"]


async def test_stop_start_stop(anywhere: Rig) -> None:
    async with anywhere.client() as client:
        for number, (text, out) in enumerate([("STOP", True), ("START", False), ("STOP", True), ("unstop", False)]):
            await post(client, text, transaction_id=f"tx-{number}")
            assert standing(anywhere.store) is out


async def test_the_same_callback_again_says_nothing_new(anywhere: Rig) -> None:
    async with anywhere.client() as client:
        await post(client, "STOP")
        await post(client, "START", transaction_id="tx-2")
        again = await post(client, "STOP")
    assert b"<StatusCode>1000</StatusCode>" in again.content
    assert standing(anywhere.store) is False


async def test_many_at_once(anywhere: Rig) -> None:
    numbers = [f"+64215550{number:03}" for number in range(120)]
    # Half of them may be such whose media are being kept, of which text is one.
    anywhere.config = replace(anywhere.config, max_concurrent=400)
    async with anywhere.client() as client:
        answers = await asyncio.gather(
            *(post(client, "STOP", sender=one, transaction_id=f"tx-{one}") for one in numbers),
            *(post(client, "hello", sender=one, transaction_id=f"hello-{one}") for one in numbers[:20]),
        )
    assert {answer.status_code for answer in answers} == {200}
    assert [row.number for row in anywhere.store.opt_outs()] == numbers


async def test_a_store_that_is_away_is_not_answered_with_1000(rig: Rig) -> None:
    rig.store_goes_down()
    app = rig.app()
    async with rig.client(app=app) as client:
        assert (await post(client, "STOP")).status_code == 503
        rig.store_comes_back()
        assert standing(rig.store) is None
        assert (await post(client, "STOP")).status_code == 200
    assert standing(rig.store) is True


async def test_the_subject_of_a_message_without_text(rig: Rig) -> None:
    async with rig.client() as client:
        await post(client, None, subject="stop")
    assert standing(rig.store) is True


@pytest.mark.parametrize("charset", ["utf-16", "iso-10646-ucs-2", "UCS2", "1000", "1015"])
@pytest.mark.parametrize("codec", ["utf-16-be", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("text", ["STOP", "Stop.\nSent from my phone", "stop \U0001f621"])
async def test_it_is_heeded_in_utf_16(rig: Rig, charset: str, codec: str, text: str) -> None:
    async with rig.client() as client:
        await post(client, text.encode(codec), charset=charset)
    assert standing(rig.store) is True


async def test_it_is_heeded_though_a_byte_is_missing_or_too_much(rig: Rig) -> None:
    async with rig.client() as client:
        await post(client, "STOP".encode("utf-16-le") + b"\0", charset="ucs-2")
    assert standing(rig.store) is True


async def test_connections_are_apart(rig: Rig) -> None:
    body, content_type = callbacks.say("STOP")
    async with rig.client() as client:
        await client.post(
            f"{URL}/carrier_b", content=body, headers=callbacks.headers(content_type, login="b", password="bb")
        )
    assert standing(rig.store) is None
    assert standing(rig.store, scope=connection_scope("carrier_b")) is True


async def test_a_short_code_is_the_one_that_was_written_to(rig: Rig) -> None:
    rules(rig, scopes=frozenset({Scope.SHORT_CODE}), sender_address="999")
    async with rig.client() as client:
        await post(client, "STOP", recipients=("111122", "3344", "111122"))
        await post(client, "STOP", recipients=(), sender="+64219999999", transaction_id="tx-2")
    assert {row.scope for row in rig.store.opt_outs()} == {CODE, short_code_scope("3344"), short_code_scope("999")}
    # One message that confirms it, however many codes were written to.
    assert [row.confirmation for row in rig.store.opt_outs() if row.number == callbacks.RECIPIENT].count("due") == 1


async def test_others_in_a_group_chat_are_not_whom_it_is_about(rig: Rig) -> None:
    rules(rig, scopes=frozenset({Scope.SHORT_CODE}))
    body, content_type = callbacks.say("STOP")
    shown = b'<To><Number displayOnly="true">+64217777777</Number>'
    async with rig.client() as client:
        await client.post(URL, content=body.replace(b"<To>", shown), headers=callbacks.headers(content_type))
    assert [row.scope for row in rig.store.opt_outs()] == [CODE]


async def test_the_words_of_a_connection(rig: Rig) -> None:
    rules(rig, keywords=Keywords(stop=frozenset({"parar"}), start=frozenset({"volver"})))
    async with rig.client() as client:
        await post(client, "STOP")
        assert standing(rig.store) is None
        await post(client, "¡Parar!", transaction_id="tx-2")
        assert standing(rig.store) is True
        await post(client, "Volver", transaction_id="tx-3")
        assert standing(rig.store) is False


async def test_rules_that_change_hold_once_they_are_looked_up_again(rig: Rig) -> None:
    rig.config = replace(rig.config, credentials_ttl_s=0.0)
    rules(rig, keywords=Keywords(stop=frozenset(), start=frozenset()))
    app = rig.app()
    async with rig.client(app=app) as client:
        await post(client, "STOP")
        assert standing(rig.store) is None
        rules(rig)
        await post(client, "STOP", transaction_id="tx-2")
        assert standing(rig.store) is True


async def test_nothing_of_it_is_in_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with rig.client() as client:
        await post(client, "STOP\nmy secret")
        await post(client, "STOP", sender=None, transaction_id="tx-2")
    assert callbacks.RECIPIENT[1:] not in caplog.text
    assert "my secret" not in caplog.text
    assert "not who says it" in caplog.text
    assert [row.number for row in rig.store.opt_outs()] == [callbacks.RECIPIENT]


def message(**values: Any) -> NewInbound:
    plain = NewInbound(
        conn_id="c",
        digest="d",
        transaction_id=None,
        sender="+64211234567",
        recipients=("111122",),
        subject=None,
        linked_id=None,
        date=None,
        text="STOP",
    )
    return replace(plain, **values)


def test_no_code_and_no_address_is_still_somebodys_wish() -> None:
    found = ConsentRules(scopes=frozenset({Scope.SHORT_CODE})).heed(message(recipients=()))
    assert [one.scope for one in found.opt_outs] == ["conn:c"]


def test_where_nobody_knows_what_is_meant_it_is_both() -> None:
    found = ConsentRules(scopes=frozenset(Scope)).heed(message())
    assert [one.scope for one in found.opt_outs] == ["conn:c", "code:111122"]


def test_a_message_to_ten_thousand_codes_is_bounded() -> None:
    many = tuple(str(100_000 + number) for number in range(10_000))
    found = ConsentRules(scopes=frozenset({Scope.SHORT_CODE})).heed(message(recipients=many))
    assert len(found.opt_outs) == MAX_SHORT_CODES


def test_what_says_nothing_is_left_as_it_is() -> None:
    plain = message(text="Stop by on Monday")
    assert ConsentRules().heed(plain) is plain
