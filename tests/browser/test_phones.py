"""The sandbox's phones, used by a person: slides turned, replies written, statuses chosen."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from airflow_provider_mm7.store import Store
from tests.receiver.conftest import Rig
from tests.sandbox.client import GIF, post, slide_message, submit
from tests.sandbox.client import field as mm7_field
from tests.support.asgi import serving
from tests.support.sandbox import RunningSandbox

pytestmark = pytest.mark.long

FIRST, SECOND = "+64211234567", "+64211234568"
SMIL = b"""<smil><head><layout><root-layout width="240" height="320"/><region id="Image" top="80" height="240"/>
<region id="Text" top="0" height="80"/></layout></head><body>
<par dur="8s"><img src="cid:one.gif" region="Image"/><text src="cid:one.txt" region="Text"/></par>
<par dur="5s"><text src="cid:two.txt" region="Text"/></par>
<par dur="5s"><text src="cid:three.txt" region="Text"/></par></body></smil>"""


def slides(to: str) -> bytes:
    """Three slides."""
    return slide_message(
        "Science news",
        ("application/smil", SMIL, "smil"),
        ("image/gif", GIF, "one.gif"),
        ("text/plain", b"Saturn has moons", "one.txt"),
        ("text/plain", b"and rings", "two.txt"),
        ("text/plain", b"and no sea", "three.txt"),
        to=to,
    )


#: Milliseconds for what a page is expected to do; two busy cores need some of it.
expect.set_options(timeout=20_000)


@dataclass
class Stage:
    """A sandbox that calls back to the product's own receiver."""

    sandbox: RunningSandbox
    store: Store


@pytest.fixture
def stage(tmp_path: Path, make_sandbox: Callable[..., RunningSandbox]) -> Iterator[Stage]:
    rig = Rig(tmp_path)
    with serving(rig.app()) as receiver:
        url = f"http://vasp:secret@127.0.0.1:{receiver.port}/mm7/callback"
        yield Stage(make_sandbox(callback_url=url), rig.store)
    rig.store.close()


def phone(page: Page, number: str) -> Locator:
    """The phone of a number."""
    return page.get_by_role("region", name=f"Phone {number}")


def test_a_message_is_read_slide_by_slide(stage: Stage, open_page: Callable[..., Page]) -> None:
    post(stage.sandbox, slides(FIRST))
    post(stage.sandbox, slides(SECOND))
    page = open_page(stage.sandbox.base_url)

    first, second = phone(page, FIRST), phone(page, SECOND)
    show = first.get_by_role("group", name="3 slides")
    picture, text = show.get_by_role("img", name="one.gif"), show.get_by_text("Saturn has moons")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
    # The SMIL's text region is above its image region.
    above, below = text.bounding_box(), picture.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] < below["y"]
    expect(show.get_by_text("and rings")).to_be_hidden()

    show.get_by_role("button", name="Next slide").click()
    expect(show.get_by_text("and rings")).to_be_visible()
    expect(text).to_be_hidden()
    expect(show.get_by_text("2 of 3")).to_be_visible()
    expect(second.get_by_text("Saturn has moons")).to_be_visible()

    show.get_by_role("button", name="Previous slide").press("Enter")
    expect(text).to_be_visible()
    show.focus()
    for key, shown in (("ArrowRight", "2 of 3"), ("End", "3 of 3"), ("ArrowRight", "3 of 3"), ("Home", "1 of 3")):
        page.keyboard.press(key)
        expect(show.get_by_text(shown)).to_be_visible()


def test_the_keyboard_reaches_everything(stage: Stage, open_page: Callable[..., Page]) -> None:
    post(stage.sandbox, slides(FIRST))
    page = open_page(stage.sandbox.base_url)
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.name"
                " || document.activeElement.textContent"
            )
        )
    wanted = ["3 slides; the arrow keys turn them", "Next slide", "Status to report", "Report", "recipient", "Reply"]
    assert [one for one in reached if one in wanted] == wanted


def test_a_reply_arrives_at_the_receiver(stage: Stage, open_page: Callable[..., Page], tmp_path: Path) -> None:
    message_id = mm7_field(submit(stage.sandbox, FIRST), "MessageID")
    page = open_page(stage.sandbox.base_url)
    mine = phone(page, FIRST)
    (tmp_path / "me.gif").write_bytes(GIF)
    mine.get_by_label("Picture").set_input_files(tmp_path / "me.gif")
    reply = mine.get_by_role("textbox", name="Reply")
    reply.fill("Lovely <b>picture</b> ü")
    reply.press("Enter")

    expect(mine.locator(".compose output")).to_have_text("acknowledged")
    expect(reply).to_have_value("")
    (message,) = (one.message for one in stage.store.inbound())
    assert (message.sender, message.text, message.linked_id) == ("64211234567", "Lovely <b>picture</b> ü", message_id)
    assert message.recipients == ("6421999",)
    assert [one.size for one in message.parts if one.content_type.startswith("image/gif")] == [len(GIF)]
    written = mine.locator(".out")
    expect(written.get_by_text("Lovely <b>picture</b> ü")).to_be_visible()
    expect(written.get_by_role("img")).to_be_visible()
    assert written.get_by_role("img").evaluate("image => image.naturalWidth") == 1


def test_a_number_that_nobody_wrote_to_can_write(stage: Stage, open_page: Callable[..., Page]) -> None:
    page = open_page(stage.sandbox.base_url)
    page.get_by_label("Open a phone").fill("+64 21 555 0000")
    page.get_by_role("button", name="Open", exact=True).click()
    mine = phone(page, "+64215550000")
    mine.get_by_label("to").fill("8000")
    mine.get_by_role("textbox", name="Reply").fill("STOP")
    mine.get_by_role("button", name="Send").click()

    expect(mine.locator(".compose output")).to_have_text("acknowledged")
    (message,) = (one.message for one in stage.store.inbound())
    assert (message.sender, message.recipients, message.text) == ("64215550000", ("8000",), "STOP")


def test_nothing_to_say_is_told_and_not_sent(stage: Stage, open_page: Callable[..., Page]) -> None:
    submit(stage.sandbox, FIRST)
    page = open_page(stage.sandbox.base_url)
    phone(page, FIRST).get_by_role("button", name="Send").click()
    expect(phone(page, FIRST).locator(".compose output")).to_have_text("write something, or choose a picture")
    assert [one["kind"] for one in stage.sandbox.settled_reports(1)] == ["report"]


@pytest.mark.parametrize(("status", "kind"), [("Expired", "report"), ("Deleted", "read-reply")])
def test_a_status_can_be_chosen(stage: Stage, open_page: Callable[..., Page], status: str, kind: str) -> None:
    message_id = mm7_field(submit(stage.sandbox, FIRST, SECOND, report=False), "MessageID")
    page = open_page(stage.sandbox.base_url)
    mine = phone(page, SECOND)
    expect(mine.get_by_text("no report yet")).to_be_visible()
    mine.get_by_label("Status to report").select_option(status)
    mine.get_by_role("button", name="Report").click()

    expect(mine.locator(".order output")).to_have_text("acknowledged")
    expect(mine.get_by_role("list", name="Reports")).to_contain_text(f"{status}")
    (sent,) = stage.sandbox.reports()
    assert (sent["kind"], sent["message_id"], sent["recipient"], sent["state"]) == (
        kind, message_id, SECOND, "acknowledged",
    )  # fmt: skip
    expect(phone(page, FIRST).get_by_text("no report yet")).to_be_visible()


def test_news_come_by_themselves_and_take_nothing_out_of_ones_hands(
    stage: Stage, open_page: Callable[..., Page]
) -> None:
    post(stage.sandbox, slides(FIRST))
    stage.sandbox.settled_reports(1)
    page = open_page(stage.sandbox.base_url)
    first = phone(page, FIRST)
    first.get_by_role("button", name="Next slide").click()
    first.get_by_role("textbox", name="Reply").fill("I was just wri")

    submit(stage.sandbox, SECOND)
    expect(phone(page, SECOND)).to_be_visible()
    expect(phone(page, SECOND).get_by_text("Retrieved", exact=True).first).to_be_visible()
    submit(stage.sandbox, FIRST)
    expect(first.locator(".in")).to_have_count(2)
    expect(first.get_by_text("2 of 3")).to_be_visible()
    expect(first.get_by_role("textbox", name="Reply")).to_have_value("I was just wri")
    stage.sandbox.clear()
    expect(phone(page, SECOND)).to_have_count(0)
    expect(first.get_by_role("textbox", name="Reply")).to_have_value("I was just wri")
    assert page.locator("section").count() == 1


@pytest.mark.parametrize("width", [320, 390])
def test_at_the_width_of_a_phone_nothing_sticks_out(stage: Stage, open_page: Callable[..., Page], width: int) -> None:
    long = slide_message("x" * 300, ("text/plain", b"y" * 500, "z" * 200), ("audio/amr", b"-", "n" * 200), to=FIRST)
    post(stage.sandbox, long)
    post(stage.sandbox, slides(SECOND))
    page = open_page(stage.sandbox.base_url, width=width, height=700)
    expect(phone(page, SECOND)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_javascript_the_phones_can_be_read(stage: Stage, open_page: Callable[..., Page]) -> None:
    post(stage.sandbox, slides(FIRST))
    page = open_page(stage.sandbox.base_url, java_script_enabled=False)
    for text in ("Saturn has moons", "and rings", "and no sea"):
        expect(page.get_by_text(text).first).to_be_visible()


# --- hostile messages ------------------------------------------------------------------------------------------------


@dataclass
class Stranger:
    """Another site, with an empty page: whoever connects is counted."""

    port: int
    connections: list[bytes] = field(default_factory=list)


@contextmanager
def stranger() -> Iterator[Stranger]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        met = Stranger(listener.getsockname()[1])

        def meet() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    met.connections.append(connection.recv(4000))
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<title>other</title>")

        thread = threading.Thread(target=meet, daemon=True)
        thread.start()
        yield met
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


#: What an MMSC lets through of the parts; the rest only a handset of this sandbox can send.
LET_THROUGH = range(6)


def hostile(host: str) -> list[tuple[str, bytes, str]]:
    """Parts that would each leave a trace if they were taken for markup, script or style."""
    run = f"document.title='owned';fetch('http://{host}/s')"
    img = f'<img src="http://{host}/i" onerror="{run}">'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{run}"><script>{run}</script></svg>'
    page = f'<html><body onload="{run}"><script>{run}</script>{img}</body></html>'
    smil = (
        f'<smil><head><layout><region id="x" left="0" top="0" style="background:url(http://{host}/c)"/></layout></head>'
        f'<body><par><img src="http://{host}/smil.gif" region="x"/><img src="javascript:{run}"/>'
        f'<text src="cid:t.txt" region="x&quot; onclick=&quot;{run}"/><img src="cid:p.gif"/><script>{run}</script>'
        "</par></body></smil>"
    )
    return [
        ("application/smil", smil.encode(), "smil"),
        ("text/plain", f"</p><script>{run}</script>{img}<style>@import 'http://{host}/c'</style>".encode(), "t.txt"),
        ("image/gif", svg.encode(), "p.gif"),
        ("image/png", page.encode(), f"x' onmouseover='{run}"),
        ("video/mp4", page.encode(), f'"><script>{run}</script>.mp4'),
        ("text/vcard", page.encode(), f"{img}.vcf"),
        ("image/svg+xml", svg.encode(), "drawing.svg"),
        ("text/html", page.encode(), "page.html"),
        ("application/xhtml+xml", page.encode(), "page.xhtml"),
    ]


def test_a_hostile_message_is_inert(stage: Stage, open_page: Callable[..., Page]) -> None:
    with stranger() as other:
        parts = hostile(f"127.0.0.1:{other.port}")
        scripted = f"</h3><script>document.title='owned';fetch('http://127.0.0.1:{other.port}/')</script>"
        accepted = slide_message(scripted, *(parts[index] for index in LET_THROUGH), to=FIRST)
        post(stage.sandbox, accepted)
        post(stage.sandbox, slide_message(scripted, *parts, to=FIRST))
        submit(stage.sandbox, scripted.replace("<", "&lt;"))
        stage.sandbox.settled_reports(1)
        media = [{"content_type": one[0], "base64": base64.b64encode(one[1]).decode()} for one in parts]
        stage.sandbox.deliver(sender=SECOND, recipient=scripted, subject=scripted, text=scripted, media=media)
        message_id = stage.sandbox.accepted()[0]["message_id"]
        stage.sandbox.report(message_id=message_id, recipient=FIRST, mm_status=scripted)

        page = open_page(stage.sandbox.base_url + "/?phone=%22%3E%3Cscript%3Edocument.title=1%3C/script%3E")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).netloc))
        page.reload()
        mine = phone(page, FIRST)
        mine.get_by_role("button", name="Next slide").click()
        for medium in page.locator("audio, video").all():
            medium.evaluate("medium => { medium.play().catch(() => 0) }")
        for shown in page.locator(".bubble img, .bubble a").all():
            if shown.is_visible():
                shown.hover()
        # News go another way onto the page than its first state.
        post(stage.sandbox, accepted)
        expect(mine.locator(".in")).to_have_count(2)
        page.wait_for_load_state("networkidle")

        assert page.title() == "MM7 sandbox"
        assert set(asked) == {stage.sandbox.base_url.removeprefix("http://")}
        assert other.connections == []
        assert page.locator("script").count() == 1
        expect(mine.get_by_text("<script>").first).to_be_visible()
        expect(phone(page, SECOND).get_by_text("media_6.svgxml")).to_be_visible()


def test_opened_by_itself_a_part_is_inert_too(stage: Stage, open_page: Callable[..., Page]) -> None:
    with stranger() as other:
        parts = hostile(f"127.0.0.1:{other.port}")
        post(stage.sandbox, slide_message("x", *parts, to=FIRST))
        seq = stage.sandbox.messages()[0]["seq"]
        page = open_page(stage.sandbox.base_url, may_complain=True)
        for index in range(len(parts)):
            page.goto(f"{stage.sandbox.base_url}/_sandbox/messages/{seq}/media/{index}")
            assert page.title() != "owned"
            page.goto(stage.sandbox.base_url)
            with page.expect_download() as started:
                page.evaluate("url => { location = url }", f"/_sandbox/messages/{seq}/parts/{index}")
            assert started.value.suggested_filename == "mm7.bin"
        assert other.connections == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_site_can_neither_write_nor_read(
    stage: Stage, open_page: Callable[..., Page], name: str
) -> None:
    post(stage.sandbox, slides(FIRST))
    stage.sandbox.settled_reports(1)
    with stranger() as other:
        # The same host on another port is the same site to a browser, and another origin.
        page = open_page(f"http://{name}:{other.port}/", may_complain=True)
        assert page.title() == "other"
        answers = page.evaluate(
            """async ([base, order]) => {
                const tell = (promise) => promise.then((answer) => answer.type, (error) => error.name);
                const url = base + "/_sandbox/deliver";
                const json = {"Content-Type": "application/json"};
                const load = (tag, path) => new Promise((done) => {
                    const element = document.createElement(tag);
                    element.onload = () => done("loaded");
                    element.onerror = () => done("refused");
                    element.src = base + path;
                    document.head.append(element);
                });
                return [
                    await tell(fetch(url, {method: "POST", body: order, headers: json})),
                    await tell(fetch(url, {method: "POST", body: order, mode: "no-cors"})),
                    await tell(fetch(base + "/_sandbox/messages")),
                    await load("img", "/_sandbox/messages/1/media/1"),
                    await load("script", "/_sandbox/static/phones.js"),
                ];
            }""",
            [stage.sandbox.base_url, '{"sender": "+64215550000", "text": "forged"}'],
        )
        # A form is the one thing that may be posted anywhere.
        page.evaluate(
            """(url) => {
                const form = document.createElement("form");
                Object.assign(form, {method: "POST", action: url, enctype: "text/plain"});
                const input = document.createElement("input");
                Object.assign(input, {name: '{"sender": "+64215550000", "x', value: '": 1}'});
                form.append(input);
                document.body.append(form);
                form.submit();
            }""",
            f"{stage.sandbox.base_url}/_sandbox/deliver",
        )
        expect(page.get_by_text("requests of other sites are refused")).to_be_visible()
    assert "opaque" not in answers[0]
    assert (answers[2], answers[3], answers[4]) == ("TypeError", "refused", "refused")
    assert stage.sandbox.health()["callbacks"] == 1
