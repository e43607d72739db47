"""The pages as a browser gets them: who sees what, what they say, and what goes with them."""

from __future__ import annotations

import html as markup
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from airflow_provider_mm7.store import (
    Batch,
    NewInbound,
    NewSubmission,
    Origin,
    ReportKind,
    Settlement,
    State,
    Store,
)
from airflow_provider_mm7.store.consent import OptOutChange, Source, connection_scope, short_code_scope
from tests.pages.conftest import NOW
from tests.store.make import claim, numbers, report, settled
from tests.support.page_server import User, keep

GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
HTML = b"<html><script>alert(1)</script></html>"

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"


def send(store: Store, key: str = "k", *, count: int = 10, dag_id: str | None = "campaign") -> Batch:
    """A batch: two of ten refused, one in doubt, four delivered, one expired, two without a report."""
    origin = Origin(dag_id=dag_id, run_id="run 1", task_id="send", map_index=-1)
    batch = store.open_batch(key, conn_id="mm7_default", origin=origin if dag_id else None)
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(count)])
    items = claim(store, batch, count)
    store.settle(
        batch.batch_id,
        [
            *settled(items[:7]),
            *(Settlement(submission_id=one.id, state=State.REFUSED, status_code=2002) for one in items[7:9]),
            *settled(items[9:], State.UNKNOWN),
        ],
    )
    store.add_reports([report(f"m-{one.recipient}") for one in items[:4]])
    store.add_reports([report(f"m-{items[4].recipient}", "Expired")])
    return batch


def recipients(html: str) -> list[str]:
    return re.findall(r"<bdi class=\"mono\">([^<]*)</bdi></a></td>", html)


def address(href: str) -> str:
    return "http://airflow.test" + markup.unescape(href)


async def shown(client: httpx.AsyncClient, batch: Batch, **query: object) -> list[str]:
    answer = await client.get(f"batches/{batch.batch_id}", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return recipients(answer.text)


PATHS = (
    "",
    "batches",
    "batches/b1",
    "batches/b1/messages/1",
    "batches/b1/contents/1/parts/0",
    "inbound",
    "inbound/1",
    "inbound/1/parts/0",
    "opt-outs",
    "find?q=x",
)


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_shown_without_a_session(client: httpx.AsyncClient, user: User, path: str) -> None:
    user.logged_in = False
    assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_shown_without_permission(client: httpx.AsyncClient, user: User, path: str) -> None:
    user.may_open = False
    assert (await client.get(path)).status_code == 403


@pytest.mark.parametrize("path", [*PATHS, "page.css", "nowhere"])
async def test_headers_go_with_every_answer(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+';", policy)
    assert "frame-ancestors 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert path == "page.css" or headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_pages_are_for_reading(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "batches")).status_code == 405


async def test_without_messages_the_page_says_how_they_come(client: httpx.AsyncClient) -> None:
    assert "No messages yet" in (await client.get("")).text
    assert "No batches here" in (await client.get("batches")).text
    assert "No messages from handsets" in (await client.get("inbound")).text


async def test_a_glance_tells_what_became_of_messages(client: httpx.AsyncClient, store: Store) -> None:
    send(store)
    html = (await client.get("?within=all")).text
    found = {text.strip(): n for n, text in re.findall(r"<b>([\d,]+)</b><span>([a-z ]+)", html)}
    assert found == {
        "messages": "10",
        "accepted": "7",
        "delivered": "4",
        "failed": "1",
        "no report yet": "2",
        "refused": "2",
        "unknown": "1",
    }
    assert "Refused: 2002 address error" in html
    assert "Expired" in html
    # One bar for the one minute in which all happened.
    assert "7 accepted, 4 delivered, 3 failed or refused" in html


async def test_a_period_leaves_older_batches_out(client: httpx.AsyncClient, store: Store) -> None:
    send(store)
    # The clock of the pages is the real one: the batch is months or years old.
    assert "Nothing was sent in this period" in (await client.get("?within=1h")).text
    # Without a choice the page takes one that shows something.
    assert 'aria-current="true">all time' in (await client.get("")).text
    assert (await client.get("?within=ever")).status_code == 404


async def test_filters_show_what_they_say(client: httpx.AsyncClient, store: Store) -> None:
    batch, all_numbers = send(store), numbers(10)
    assert await shown(client, batch) == all_numbers
    assert await shown(client, batch, show="delivered") == all_numbers[:4]
    assert await shown(client, batch, show="failed") == all_numbers[4:5]
    assert await shown(client, batch, show="waiting") == all_numbers[5:7]
    assert await shown(client, batch, show="accepted") == all_numbers[:7]
    assert await shown(client, batch, show="refused") == all_numbers[7:9]
    assert await shown(client, batch, show="unknown") == all_numbers[9:]
    assert await shown(client, batch, status="Expired") == all_numbers[4:5]
    assert await shown(client, batch, code=2002) == all_numbers[7:9]
    assert await shown(client, batch, code=3001) == []
    assert await shown(client, batch, number=all_numbers[3].removeprefix("+")) == all_numbers[3:4]
    for wrong in ({"show": "nonsense"}, {"code": "x"}, {"after": "-1"}, {"after": "9" * 30}):
        assert (await client.get(f"batches/{batch.batch_id}", params=wrong)).status_code == 404


async def test_pages_of_messages_go_on_and_back(client: httpx.AsyncClient, store: Store) -> None:
    batch = store.open_batch("many", conn_id="mm7_default")
    wanted = numbers(250)
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in wanted])
    html = (await client.get(f"batches/{batch.batch_id}")).text
    assert recipients(html) == wanted[:100]
    assert 'rel="prev"' not in html
    pages = [recipients(html)]
    while forward := re.search(r'rel="next" href="([^"#]+)', html):
        html = (await client.get(address(forward[1]))).text
        pages.append(recipients(html))
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [number for page in pages for number in page] == wanted
    back = re.search(r'rel="prev" href="([^"#]+)', html)
    assert back is not None
    assert recipients((await client.get(address(back[1]))).text) == pages[1]


async def test_pages_of_batches_go_on_and_back(client: httpx.AsyncClient, store: Store) -> None:
    # All made at one moment: their ids alone tell them apart.
    for n in range(120):
        store.open_batch(f"key {n}", conn_id="mm7_default")
    html = (await client.get("batches")).text
    pages = [re.findall(r"batches/(b[0-9a-f]{24})\"", html)]
    while forward := re.search(r'rel="next" href="([^"]+)', html):
        html = (await client.get(address(forward[1]))).text
        pages.append(re.findall(r"batches/(b[0-9a-f]{24})\"", html))
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({one for page in pages for one in page}) == 120
    back = re.search(r'rel="prev" href="([^"]+)', html)
    assert back is not None
    html = (await client.get(address(back[1]))).text
    assert re.findall(r"batches/(b[0-9a-f]{24})\"", html) == pages[1]
    for wrong in ("x", "2026-01-01~b", "~"):
        assert (await client.get("batches", params={"after": wrong})).status_code == 404


async def test_a_message_tells_its_history(client: httpx.AsyncClient, store: Store) -> None:
    batch = send(store)
    (first,) = store.submissions(batch.batch_id, limit=1)
    message_id = f"m-{first.recipient}"
    store.add_reports(
        [
            report(message_id, "Deferred", date=NOW - timedelta(minutes=3), raw="DEFERRED-BY-HLR"),
            report(message_id, "Read", kind=ReportKind.READ, date=NOW + timedelta(hours=1)),
        ]
    )
    html = (await client.get(f"batches/{batch.batch_id}/messages/{first.id}")).text
    events = re.findall(r"<li class=\"(\w+)\"><b><bdi>([^<]+)</bdi>", html)
    assert events == [
        ("quiet", "Batch made"),
        ("good", "Accepted by the MMSC"),
        ("waits", "Delivery report: Deferred"),
        ("good", "Delivery report: Retrieved"),
        ("good", "Read reply: Read"),
    ]
    assert "DEFERRED-BY-HLR" in html
    assert 'datetime="2026-01-20T10:30:00+00:00"' in html
    assert first.recipient in html


async def test_a_message_belongs_to_its_batch(client: httpx.AsyncClient, store: Store) -> None:
    one, other = send(store, "one"), send(store, "other")
    (first,) = store.submissions(one.batch_id, limit=1)
    assert (await client.get(f"batches/{other.batch_id}/messages/{first.id}")).status_code == 404
    assert (await client.get("batches/b000")).status_code == 404


async def test_numbers_are_masked_for_those_who_may_not_see_them(
    client: httpx.AsyncClient, store: Store, user: User, tmp_path: Path
) -> None:
    batch = send(store)
    (first,) = store.submissions(batch.batch_id, limit=1)
    deliver(store, tmp_path, sender="+64215550123")
    user.numbers = False
    whole = [*numbers(10), *(number.removeprefix("+") for number in numbers(10)), "64215550123"]
    # MessageIDs of these tests are made of numbers: of two pages, only the place of the number is looked at.
    for path in ("", "batches", "inbound", "inbound/1"):
        html = (await client.get(path)).text
        assert [number for number in whole if number in html] == []
    assert await shown(client, batch, show="failed") == ["+6421****04"]
    html = (await client.get(f"batches/{batch.batch_id}/messages/{first.id}")).text
    assert '<h1>Message to <bdi class="mono">+6421****00</bdi>' in html
    # Nor may they be found out by asking.
    assert (await client.get(f"batches/{batch.batch_id}", params={"number": "+6421100000"})).status_code == 403
    there, not_there = [(await client.get("inbound", params={"sender": one})).text for one in ("+64215550123", "+1")]
    assert "No messages from handsets" in there
    assert there.replace("+64215550123", "") == not_there.replace("+1", "")


async def test_batches_of_other_dags_are_hidden(client: httpx.AsyncClient, store: Store, user: User) -> None:
    mine, other, none = send(store, "mine"), send(store, "other", dag_id="secret"), send(store, "cli", dag_id=None)
    (message,) = store.submissions(other.batch_id, limit=1)
    user.dags = frozenset({"campaign"})
    listed = (await client.get("batches")).text
    assert [batch.batch_id in listed for batch in (mine, other, none)] == [True, False, True]
    assert "<b>20</b><span>messages" in (await client.get("")).text
    for path in (
        f"batches/{other.batch_id}",
        f"batches/{other.batch_id}/messages/{message.id}",
        "?dag_id=secret",
        "batches?dag_id=secret",
    ):
        answer = await client.get(path)
        assert (answer.status_code, "secret" in answer.text) == (403, False)
    for words in (other.batch_id, message.message_id):
        answer = await client.get("find", params={"q": str(words)})
        assert "secret" not in answer.text
        assert other.batch_id not in str(answer.headers.get("location")) + answer.text.replace(f"<bdi>{words}", "")


async def test_tabs_show_their_dag_run_and_task(client: httpx.AsyncClient, store: Store) -> None:
    batch = send(store)
    second = store.open_batch(
        "2", conn_id="mm7_default", origin=Origin(dag_id="campaign", run_id="run 2", task_id="send", map_index=0)
    )
    html = (await client.get("", params={"dag_id": "campaign"})).text
    assert batch.batch_id in html
    assert second.batch_id in html
    # A run with one batch is that batch.
    answer = await client.get("", params={"dag_id": "campaign", "run_id": "run 1"})
    assert (answer.status_code, answer.headers["location"]) == (302, f"/mm7/ui/batches/{batch.batch_id}")
    assert "No messages yet" in (await client.get("", params={"dag_id": "other", "task_id": "send"})).text
    html = (await client.get(f"batches/{batch.batch_id}")).text
    assert 'href="/dags/campaign/runs/run%201/tasks/send"' in html


async def test_find_goes_to_batches_and_messages(client: httpx.AsyncClient, store: Store) -> None:
    batch = send(store)
    (first,) = store.submissions(batch.batch_id, limit=1)
    found = await client.get("find", params={"q": f" {first.message_id} "})
    assert found.headers["location"] == f"/mm7/ui/batches/{batch.batch_id}/messages/{first.id}"
    assert (await client.get("find", params={"q": batch.batch_id})).headers["location"].endswith(batch.batch_id)
    assert "Nothing found" in (await client.get("find", params={"q": HOSTILE})).text


def deliver(
    store: Store,
    folder: Path,
    parts: Sequence[tuple[str, str, bytes]] = (("g.gif", "image/gif", GIF),),
    *,
    digest: str = "d",
    sender: str = "+64215550123",
    subject: str | None = None,
    text: str | None = None,
) -> None:
    store.add_inbound(
        [
            NewInbound(
                conn_id="mm7_default",
                digest=digest,
                transaction_id="t",
                sender=sender,
                recipients=("5555",),
                subject=subject,
                linked_id=None,
                date=None,
                text=text,
                parts=keep(folder / digest, parts),
            )
        ]
    )


async def test_inbound_messages_newest_first(client: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    for n in range(60):
        deliver(store, tmp_path, (), digest=str(n), sender=f"+6421{n % 2}", text=f"words {n}.")
    html = (await client.get("inbound")).text
    assert re.findall(r"words (\d+)\.", html) == [str(n) for n in range(59, 9, -1)]
    forward = re.search(r'rel="next" href="([^"]+)', html)
    assert forward is not None
    html = (await client.get(address(forward[1]))).text
    assert re.findall(r"words (\d+)\.", html) == [str(n) for n in range(9, -1, -1)]
    back = re.search(r'rel="prev" href="([^"]+)', html)
    assert back is not None
    assert "words 59." in (await client.get(address(back[1]))).text
    html = (await client.get("inbound", params={"sender": "64211"})).text
    assert re.findall(r"words (\d+)\.", html) == [str(n) for n in range(59, 0, -2)]


async def test_values_of_messages_are_text(client: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    parts = [(HOSTILE, "text/plain", HOSTILE.encode()), (f"{HOSTILE}.gif", f"image/gif; name={HOSTILE}", GIF)]
    deliver(store, tmp_path, parts, subject=HOSTILE, text=HOSTILE, sender=HOSTILE)
    origin = Origin(dag_id=HOSTILE, run_id=HOSTILE, task_id=HOSTILE, map_index=-1)
    batch = store.open_batch(HOSTILE, conn_id=HOSTILE, origin=origin)
    store.plan(batch.batch_id, [NewSubmission(recipient=HOSTILE)])
    (item,) = claim(store, batch, 1)
    store.settle(
        batch.batch_id,
        [Settlement(submission_id=item.id, state=State.ACCEPTED, message_id=HOSTILE, status_code=1000,
                    status_text=HOSTILE)],
    )  # fmt: skip
    store.add_reports([report(HOSTILE, HOSTILE, recipient=HOSTILE, sender=HOSTILE)])
    for path in ("", "batches", "inbound", "inbound/1", f"batches/{batch.batch_id}",
                 f"batches/{batch.batch_id}/messages/{item.id}", "?dag_id=" + HOSTILE):  # fmt: skip
        html = (await client.get(path)).text
        assert html.count("<script>") == 1, path
        assert "<img src=x" not in html


@pytest.mark.parametrize(
    ("name", "content_type", "body", "served"),
    [
        ("g.gif", "image/gif", GIF, "image/gif"),
        ("v.mp4", "image/mpeg", b"mp4", "video/mp4"),
        ("g.gif", "IMAGE/GIF; name=x", GIF, "image/gif"),
        ("s.svg", "image/svg+xml", SVG, None),
        ("p.html", "text/html", HTML, None),
        ("p.xhtml", "application/xhtml+xml", HTML, None),
        ("t.txt", "text/plain", b"text", None),
        ("p.smil", "application/smil", b"<smil/>", None),
        ('x"\r\nSet-Cookie: a=b', "application/x-unknown", b"x", None),
    ],
)
async def test_media_are_shown_only_as_what_cannot_run(
    client: httpx.AsyncClient, store: Store, tmp_path: Path, name: str, content_type: str, body: bytes,
    served: str | None,
) -> None:  # fmt: skip
    deliver(store, tmp_path, [(name, content_type, body)])
    answer = await client.get("inbound/1/parts/0")
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if served:
        assert answer.headers["content-type"] == served
        assert "content-disposition" not in answer.headers
    else:
        assert answer.headers["content-type"] == "application/octet-stream"
        assert re.fullmatch(r'attachment; filename="[\w.-]+"', answer.headers["content-disposition"])
    assert "set-cookie" not in answer.headers


async def test_media_that_changed_or_went_are_not_served(
    client: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    deliver(store, tmp_path, [("a.gif", "image/gif", GIF), ("b.gif", "image/gif", GIF), ("c.gif", "image/gif", GIF)])
    (found,) = store.inbound()
    first, second, third = (Path(part.uri.removeprefix("file://")) for part in found.message.parts)
    first.unlink()
    second.write_bytes(GIF[:-1] + b"x")
    third.write_bytes(GIF * 1000)
    for index, words in enumerate(("no longer there", "changed since", "changed since")):
        answer = await client.get(f"inbound/1/parts/{index}")
        assert answer.status_code == 404
        assert words in answer.text
    assert (await client.get("inbound/1/parts/3")).status_code == 404
    assert (await client.get("inbound/1")).status_code == 200


async def test_a_store_that_is_not_there_is_said_kindly(client: httpx.AsyncClient, store: Store) -> None:
    path = store._db.path
    assert path is not None
    store.close()
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    answer = await client.get("")
    assert answer.status_code == 503
    assert "The store cannot be read now" in answer.text
    assert str(path) not in answer.text


async def test_opt_outs(client: httpx.AsyncClient, store: Store, user: User) -> None:
    assert "Nobody has opted out" in (await client.get("opt-outs")).text
    scopes = connection_scope("mm7_default"), short_code_scope("5555")
    store.record_opt_outs(
        OptOutChange(scope=scopes[n % 2], number=f"+64215550{n:03d}", opted_out=place != 300, source=Source.MESSAGE,
                     keyword=HOSTILE, conn_id="mm7_default")
        for place, n in enumerate([*range(300), 4])
    )  # fmt: skip
    page = (await client.get("opt-outs", params={"scope": scopes[0]})).text
    found = re.findall(r"\+64215550(\d{3})</bdi>", page)
    assert len(found) == 100
    assert (await client.get("opt-outs")).text.count("short code 5555") == 1
    assert "<script>alert" not in page
    # The last change stands first: who came back.
    assert (found[0], page.count("came back")) == ("004", 1)
    forward = re.search(r'rel="next" href="([^"]+)', page)
    assert forward is not None
    found += re.findall(r"\+64215550(\d{3})</bdi>", (await client.get(address(forward[1]))).text)
    assert sorted(found) == [f"{n:03d}" for n in range(0, 300, 2)]
    one = (await client.get("opt-outs", params={"scope": scopes[0], "number": "64215550006"})).text
    assert re.findall(r"\+64215550(\d{3})</bdi>", one) == ["006"]
    user.numbers = False
    for scope in scopes:
        assert "+642155" not in (await client.get("opt-outs", params={"scope": scope})).text
        asked = await client.get("opt-outs", params={"scope": scope, "number": "64215550006"})
        assert asked.status_code == 403
    assert (await client.get("opt-outs", params={"scope": "conn:other"})).status_code == 404
