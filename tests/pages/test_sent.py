"""A message that was sent, on its page: what it consisted of, to whom it is shown, and nothing of it that runs."""

from __future__ import annotations

import html as markup
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.protocol import Part
from airflow_provider_mm7.sending import Draft, Profile
from airflow_provider_mm7.sending.compose import Composer
from airflow_provider_mm7.sending.keeping import Keeper
from airflow_provider_mm7.sending.recipients.spool import RowContent, Spool
from airflow_provider_mm7.sending.record import content_of, contents_of_rows
from airflow_provider_mm7.store import Batch, NewContent, NewSubmission, Options, Origin, Store
from tests.pages.conftest import NOW
from tests.pages.test_app import GIF, HOSTILE, HTML, SVG, send
from tests.sending.test_compose import Shelf
from tests.store.make import claim, numbers, settled
from tests.support.page_server import User

SMIL = "<smil><body><par><img src='cid:b.gif'/><text src='b.txt'/></par><par><text src='a.txt'/></par></body></smil>"


def plan(store: Store, contents: Sequence[NewContent], *, dag_id: str | None = "campaign", key: str = "k") -> Batch:
    """One message of each content, accepted."""
    batch = store.open_batch(key, conn_id="mm7_default", origin=Origin(dag_id=dag_id, run_id="r", task_id="send"))
    given = store.record_contents(batch.batch_id, contents)
    wanted = [NewSubmission(recipient=number, content=n) for n, number in enumerate(numbers(len(contents)))]
    store.replan(batch.batch_id, wanted, contents=given)
    store.settle(batch.batch_id, settled(claim(store, batch, len(contents))))
    return batch


def keep(store: Store, batch: Batch, folder: Path, parts: Sequence[Part]) -> None:
    keeper = Keeper(FolderSink(folder / "sent"))
    for part in parts:
        keeper.take(part)
    keeper.begin(store, batch.batch_id)
    keeper.finish()


def part(name: str, content_type: str, body: bytes) -> Part:
    return Part(name=name, content_id=name, content_location=name, content_type=content_type, body=body)


PARTS = (
    part("p.smil", "application/smil", SMIL.encode()),
    part("a.txt", "text/plain; charset=utf-8", b"first text"),
    part("b.txt", "text/plain; charset=utf-8", "second, Zoë".encode()),
    part("b.gif", "image/gif", GIF),
    part("c.ics", "text/calendar", b"BEGIN:VCALENDAR"),
)
OPTIONS: Options = {
    "priority": "High",
    "expiry": "P2DT1H",
    "delivery_report": True,
    "read_reply": False,
    "linked_id": "P2D",
}


async def opened(client: httpx.AsyncClient, store: Store, batch: Batch, place: int = 0) -> str:
    item = store.submissions(batch.batch_id)[place]
    answer = await client.get(f"batches/{batch.batch_id}/messages/{item.id}")
    assert answer.status_code == 200
    return answer.text


def envelope(html: str) -> dict[str, str]:
    found = re.findall(r"<dt>([^<]+)</dt><dd[^>]*>(?:<bdi[^>]*>)?([^<]*)", html)
    return {name: markup.unescape(value) for name, value in found}


def slides(html: str) -> list[list[str]]:
    """What stands on each slide: texts, and names of media."""
    medium = re.compile(r'<p><bdi>([^<]*)</bdi>|<img [^>]*alt="([^"]*)"')
    return [
        [text or alt for text, alt in medium.findall(slide)]
        for slide in re.findall(r'<div class="slide">(.*?)</div>', html, re.DOTALL)
    ]


def listed(html: str) -> list[str]:
    """Names in the list of parts."""
    return re.findall(r'data-label="Part"><span>(?:<a [^>]*>)?<bdi>([^<]*)</bdi>', html)


async def test_a_message_shows_what_it_consisted_of(client: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    batch = plan(store, [content_of("News & <more>", OPTIONS, PARTS)])
    keep(store, batch, tmp_path, PARTS[3:])
    html = await opened(client, store, batch)
    shown = envelope(html)
    asked = ("Subject", "Priority", "Expiry", "Delivery report", "Read reply", "Answers")
    assert {name: shown[name] for name in asked} == {
        "Subject": "News & <more>", "Priority": "High", "Expiry": "2 days 1 hour after it is sent",
        "Delivery report": "yes", "Read reply": "no", "Answers": "P2D",
    }  # fmt: skip
    # In the order of the presentation; what it does not show comes last.
    assert slides(html) == [["b.gif", "second, Zoë"], ["first text"], []]
    assert listed(html) == ["p.smil", "a.txt", "b.txt", "b.gif", "c.ics"]
    (address,) = re.findall(r'<img class="thumb" src="([^"]+)"', html)
    picture = await client.get("http://airflow.test" + address)
    assert (picture.status_code, picture.content, picture.headers["content-type"]) == (200, GIF, "image/gif")
    # The batch's page shows the same: all its messages consist of it.
    whole = (await client.get(f"batches/{batch.batch_id}")).text
    assert slides(whole) == slides(html)
    assert envelope(whole)["Priority"] == "High"
    assert listed(whole) == listed(html)


async def test_messages_that_differ_show_each_its_own(client: httpx.AsyncClient, store: Store) -> None:
    texts = [part("a.txt", "text/plain", f"for {n}".encode()) for n in range(2)]
    batch = plan(store, [content_of(f"subject {n}", {}, [text]) for n, text in enumerate(texts)])
    for n in range(2):
        html = await opened(client, store, batch, n)
        assert (envelope(html)["Subject"], slides(html)) == (f"subject {n}", [[f"for {n}"]])
    whole = (await client.get(f"batches/{batch.batch_id}")).text
    assert "for 0" not in whole
    assert "each shows what it consists of" in whole


async def test_nothing_is_shown_to_those_who_may_not_see_it(
    client: httpx.AsyncClient, store: Store, user: User, tmp_path: Path
) -> None:
    batch = plan(store, [content_of("a secret subject", {"sender_address": "+64215550100"}, PARTS)])
    keep(store, batch, tmp_path, PARTS[3:])
    address = f"batches/{batch.batch_id}/contents/1/parts/3"
    assert (await client.get(address)).content == GIF
    user.numbers = False
    for html in (await opened(client, store, batch), (await client.get(f"batches/{batch.batch_id}")).text):
        for words in ("secret", "first text", "+64215550100", "b.gif", "Priority"):
            assert words not in html
    assert (await client.get(address)).status_code == 403
    user.numbers, user.dags = True, frozenset({"other"})
    assert (await client.get(address)).status_code == 403
    user.dags, user.may_open = None, False
    assert (await client.get(address)).status_code == 403
    user.logged_in = False
    assert (await client.get(address)).status_code == 401


async def test_contents_of_a_batch_are_not_those_of_another(
    client: httpx.AsyncClient, store: Store, user: User, tmp_path: Path
) -> None:
    plan(store, [content_of("s", {}, PARTS)], dag_id="secret")
    mine = plan(store, [content_of("s", {}, PARTS[1:2])], dag_id="mine", key="mine")
    for place in ("contents/1/parts/3", "contents/2/parts/0", f"contents/{2**40}/parts/0", "contents/1/parts/99"):
        assert (await client.get(f"batches/{mine.batch_id}/{place}")).status_code == 404
    assert (await client.get("batches/b0/contents/1/parts/0")).status_code == 404


async def test_without_a_copy_the_page_says_so(client: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    batch = plan(store, [content_of("s", {}, PARTS)])
    html = await opened(client, store, batch)
    assert html.count("no copy is kept") == 4
    assert "<img" not in html
    keep(store, batch, tmp_path, PARTS[3:])
    for file in (tmp_path / "sent").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-1] + b"!")
    answer = await client.get(f"batches/{batch.batch_id}/contents/1/parts/3")
    assert (answer.status_code, answer.text) == (404, "changed since\n")
    assert (await client.get(f"batches/{batch.batch_id}/contents/1/parts/0")).text == "no copy is kept\n"


async def test_what_an_earlier_version_sent(client: httpx.AsyncClient, store: Store) -> None:
    batch = send(store)
    assert "an earlier version" in await opened(client, store, batch)
    assert 'class="handset"' not in (await client.get(f"batches/{batch.batch_id}")).text


async def test_a_text_too_long_to_keep_is_cut_visibly(client: httpx.AsyncClient, store: Store) -> None:
    batch = plan(store, [content_of(None, {}, [part("a.txt", "text/plain", b"x" * 5000)])])
    assert slides(await opened(client, store, batch)) == [["x" * 4000 + "…"]]


@pytest.mark.parametrize("smil", ["auto", "none", "<smil><body><par><text src='text_0.txt'/></par></body></smil>"])
async def test_rows_are_shown_as_they_were_put_together(
    client: httpx.AsyncClient, store: Store, tmp_path: Path, smil: str
) -> None:
    """What is kept of a row is less than what is sent: the page makes the rest, and it must be the same."""
    shelf = Shelf({"a/x.gif": GIF, "b/x.gif": GIF + b"\0", "text_0.gif": GIF + b"\0\0"})
    rows = [
        RowContent(subject="one", text=("words", " ", "more"), media=("a/x.gif", "b/x.gif")),
        RowContent(text=("alone",), media=()),
        RowContent(subject="three", text=("under",), media=("b/x.gif", "text_0.gif", "a/x.gif")),
    ]
    draft, profile = Draft(to=(), smil=smil), Profile()
    spool, keeper = Spool(), Keeper(FolderSink(tmp_path / "sent"))
    for number, row in zip(numbers(3), rows, strict=True):
        spool.add(1, number, row)
    composer = Composer(
        draft=draft, profile=profile, source=shelf, rows=spool, now=NOW,
        read=lambda part, key: keeper.take(part, key=key),
    )  # fmt: skip
    batch = plan(store, list(contents_of_rows(draft, profile, spool.all_contents())))
    items = store.submissions(batch.batch_id)
    before = await opened(client, store, batch)
    assert before.count("not read yet") == (4 if smil in ("auto", "none") else 5)
    sent = [composer.compose([item], "tid") for item in items]
    keeper.begin(store, batch.batch_id)
    keeper.finish()
    for place, payload in enumerate(sent):
        envelope_ = protocol.load(payload.body, payload.content_type)
        html = await opened(client, store, batch, place)
        assert sorted(listed(html)) == sorted(str(one.content_id) for one in envelope_.parts)
        presentation = [one for one in envelope_.parts if one.content_type.startswith("application/smil")]
        assert bool(presentation) is (smil != "none")
        wanted = [one for one in envelope_.parts if one not in presentation]
        names = {str(one.content_id): one.body.decode() if one.content_type.startswith("text") else str(one.content_id)
                 for one in wanted}  # fmt: skip
        order = [re.findall(rb'src=.(?:cid:)?([\w.]+)', slide) for one in presentation
                 for slide in re.findall(rb"<par.*?</par>", one.body, re.DOTALL)]  # fmt: skip
        shown = [[names[name.decode()] for name in slide] for slide in order]
        rest = [text for text in names.values() if not any(text in slide for slide in shown)]
        assert slides(html) == [*shown, rest] if rest else shown
        for address, alt in re.findall(r'<img src="([^"]+)" alt="([^"]+)"', html):
            picture = await client.get("http://airflow.test" + address)
            (original,) = [one.body for one in wanted if one.content_id == alt]
            assert picture.content == original


async def test_hostile_values_are_text(client: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    parts = [
        part("p.smil", f"application/smil; x={HOSTILE}", f"<smil><par><text src='{quote(HOSTILE)}'/></par>".encode()),
        part(HOSTILE, "text/plain", HOSTILE.encode()),
        part(f"{HOSTILE}.gif", f"image/gif; name={HOSTILE}", GIF),
        part(f"{HOSTILE}.svg", "image/svg+xml", SVG),
        part("page.html", "text/html", HTML),
    ]  # fmt: skip
    options = dict.fromkeys([*OPTIONS, "sender_address", "service_code", "vasp_id", "earliest_delivery"], HOSTILE)
    batch = plan(store, [content_of(HOSTILE, options, parts)])
    keep(store, batch, tmp_path, parts[2:])
    for html in (await opened(client, store, batch), (await client.get(f"batches/{batch.batch_id}")).text):
        assert html.count("<script>") == 1
        assert "<img src=x" not in html
        assert html.count("alert(1)") > 5
    for index, served in ((2, "image/gif"), (3, "application/octet-stream"), (4, "application/octet-stream")):
        answer = await client.get(f"batches/{batch.batch_id}/contents/1/parts/{index}")
        assert answer.headers["content-type"] == served
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert ("content-disposition" in answer.headers) is (index > 2)


async def test_a_medium_that_was_replaced_is_not_shown_for_the_old_one(
    client: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    old, new = part("s.gif", "image/gif", GIF), part("s.gif", "image/gif", GIF + b"\0")
    batch = plan(store, [content_of("s", {}, [one]) for one in (old, new)])
    keep(store, batch, tmp_path, [old, new])
    for place, body in enumerate((old.body, new.body)):
        (address,) = re.findall(r'<img class="thumb" src="([^"]+)"', await opened(client, store, batch, place))
        assert (await client.get("http://airflow.test" + address)).content == body
