"""``/``: the phones, what stands on them, and that nothing foreign becomes markup."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import requests
from lxml import html

from tests.sandbox.callback import ACCEPTED, CallbackServer
from tests.sandbox.client import GIF, MM7, envelope, field, multipart, post, slide_message, submit, submit_body
from tests.support.sandbox import PATIENCE_S, RunningSandbox

NUMBER, OTHER = "+64211234567", "+64211234568"
SCRIPT = "<script>alert(1)</script>"


def page(sandbox: RunningSandbox, path: str = "/", **sent: str) -> requests.Response:
    """The handset page."""
    return requests.get(sandbox.base_url + path, headers=sent, timeout=PATIENCE_S)


def phones(sandbox: RunningSandbox, path: str = "/") -> dict[str, Any]:
    """Number -> its phone on the page, in the page's order."""
    document = html.fromstring(page(sandbox, path).text)
    return {str(one.findtext("h2/bdi")): one for one in document.iterfind(".//section")}


def words(element: Any) -> str:
    """The text of an element, white space folded."""
    return " ".join("".join(element.itertext()).split())


# --- phones ----------------------------------------------------------------------------------------------------------


def test_each_number_has_a_phone_and_the_latest_comes_first(sandbox: RunningSandbox) -> None:
    submit(sandbox, NUMBER)
    submit(sandbox, OTHER, NUMBER.removeprefix("+"))
    submit(sandbox, "+6421999999", OTHER)

    shown = phones(sandbox)
    assert list(shown)[2] == NUMBER
    assert set(shown) == {NUMBER, OTHER, "+6421999999"}
    assert {number: len(phone.find_class("in")) for number, phone in shown.items()} == {
        NUMBER: 2,
        OTHER: 2,
        "+6421999999": 1,
    }


def test_a_number_that_only_wrote_has_a_phone_too(calling: RunningSandbox) -> None:
    submit(calling, NUMBER)
    calling.settled_reports(1)
    calling.deliver(sender=OTHER, recipient="111122", text="STOP", subject="Please")

    shown = phones(calling)
    assert list(shown) == [OTHER, NUMBER]
    (written,) = shown[OTHER].find_class("out")
    assert "to 111122" in words(written)
    assert "Please STOP" in words(written)
    assert "acknowledged" in words(written)


def test_a_phone_that_nobody_used_can_be_opened(calling: RunningSandbox) -> None:
    submit(calling, NUMBER)
    shown = phones(calling, "/?phone=%2B64+21+5550000&phone=111")
    assert list(shown) == ["+64215550000", "111", NUMBER]
    assert shown["+64215550000"].find(".//input[@name='sender']").get("value") == "+64215550000"


def test_the_page_has_a_bound(sandbox: RunningSandbox) -> None:
    for last in range(30):
        submit(sandbox, f"+642112345{last:02}")
    shown = phones(sandbox)
    assert next(iter(shown)) == "+64211234529"
    assert len(shown) == 24
    assert "24 of 30 phones shown" in page(sandbox).text
    assert next(iter(phones(sandbox, "/?phone=64211234500"))) == "+64211234500"


def test_a_phone_shows_its_latest_messages(sandbox: RunningSandbox) -> None:
    for place in range(15):
        submit(sandbox, NUMBER, middle=f"<Priority>Normal</Priority><!-- {place} -->")
    assert len(phones(sandbox)[NUMBER].findall("ol/li")) == 12


def test_reports_stand_with_their_message_and_phone(calling: RunningSandbox, callback: CallbackServer) -> None:
    callback.answer = lambda posted: (200, b"no MM7") if b"<MMStatus>Expired" in posted.body else ACCEPTED
    post(calling, multipart(envelope(submit_body(NUMBER, OTHER, read_reply=True))))
    calling.settled_reports(4)
    (message,) = calling.accepted()
    calling.report(message_id=message["message_id"], recipient=OTHER, mm_status="Expired")

    told = {number: [words(one) for one in phone.findall("ol/li/ul/li")] for number, phone in phones(calling).items()}
    assert told[NUMBER] == ["Retrieved acknowledged", "Read (read reply) acknowledged"]
    assert told[OTHER][:2] == told[NUMBER]
    assert told[OTHER][2].startswith("Expired no MM7 answer")


def test_a_reply_goes_to_the_sender_of_the_last_message_and_refers_to_it(calling: RunningSandbox) -> None:
    message_id = field(submit(calling, NUMBER), "MessageID")
    (form,) = phones(calling)[NUMBER].find_class("compose")
    given = {one.get("name"): one.get("value") for one in form.iter("input")}
    assert (given["sender"], given["recipient"], given["linked_id"]) == (NUMBER, "+6421999", message_id)


def test_requests_that_brought_nothing_are_noted(sandbox: RunningSandbox) -> None:
    submit(sandbox, "+15005552002")
    submit(sandbox, "+15005550503")
    message_id = field(submit(sandbox, NUMBER), "MessageID")
    about = envelope(f'<CancelReq xmlns="{MM7}"><MessageID>{message_id}</MessageID></CancelReq>')
    post(sandbox, about.encode(), Content_Type="text/xml", MIME_Version=None)
    post(sandbox, b"no XML", Content_Type="text/xml", MIME_Version=None)

    shown = phones(sandbox)
    assert "SubmitReq 2002 Address error" in words(shown["+15005552002"])
    assert "not accepted: http-503" in words(shown["+15005550503"])
    assert "CancelReq 4002" in words(shown[NUMBER].find_class("note")[0])
    assert not shown["+15005552002"].find_class("in")
    document = html.fromstring(page(sandbox).text)
    assert "not well-formed" in words(document.find(".//aside[@id='strays']"))
    assert "5 received, 1 accepted" in words(document.find(".//p[@id='facts']"))


def test_without_a_callback_nothing_is_offered_to_be_sent(sandbox: RunningSandbox) -> None:
    submit(sandbox, NUMBER)
    answer = page(sandbox)
    assert "without <code>--callback-url</code>" in answer.text
    assert "data-order" not in answer.text


def test_the_callbacks_credentials_are_not_shown(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(callback_url="http://mmsc:marker-1@127.0.0.1:9/callback?key=marker-2")
    answer = page(sandbox)
    assert "http://127.0.0.1:9/callback" in answer.text
    assert "marker" not in answer.text


def test_an_empty_page(sandbox: RunningSandbox) -> None:
    assert "No message yet" in page(sandbox).text


def test_the_page_is_made_anew_only_when_something_has_changed(calling: RunningSandbox) -> None:
    def ask(tag: str) -> requests.Response:
        return page(calling, **{"If-None-Match": tag})

    tag = page(calling).headers["ETag"]
    assert ask(tag).status_code == 304
    submit(calling, NUMBER)
    calling.settled_reports(1)
    news = ask(tag)
    assert (news.status_code, ask(news.headers["ETag"]).status_code) == (200, 304)
    calling.report(message_id=calling.accepted()[0]["message_id"], mm_status="Expired")
    assert ask(news.headers["ETag"]).status_code == 200
    tag = page(calling).headers["ETag"]
    calling.clear()
    assert ask(tag).status_code == 200


# --- slides ----------------------------------------------------------------------------------------------------------


def test_the_page_shows_slides_in_the_order_of_the_smil(sandbox: RunningSandbox) -> None:
    smil = b"""<smil><body><par><img src="second.gif"/><text src="cid:two.txt"/></par>
        <par><image src="cid:first.gif"/><text src="one.txt"/></par></body></smil>"""
    body = slide_message(
        "Saturn",
        ("application/smil", smil, "smil"),
        ("image/gif", GIF, "first.gif"),
        ("text/plain; charset=utf-8", "erst ü".encode(), "one.txt"),
        ("image/gif", GIF, "second.gif"),
        ("text/plain; charset=utf-8", b"zweit", "two.txt"),
        ("audio/amr", b"x", "forgotten.amr"),
    )
    post(sandbox, body)

    text = page(sandbox).text
    order = [
        text.index(one) for one in ("Saturn", 'alt="second.gif"', "zweit", 'alt="first.gif"', "erst ü", "forgotten.amr")
    ]
    assert order == sorted(order)
    (phone,) = phones(sandbox).values()
    assert [one.get("aria-label") for one in phone.find_class("slide")] == [f"Slide {n} of 3" for n in (1, 2, 3)]
    assert "smil" not in words(phone)
    shown = page(sandbox, phone.find(".//img").get("src"))
    assert (shown.content, shown.headers["Content-Type"]) == (GIF, "image/gif")


# --- foreign content -------------------------------------------------------------------------------------------------


def test_nothing_foreign_becomes_markup(calling: RunningSandbox) -> None:
    parts = (
        ("text/plain", SCRIPT.encode(), "x.txt"),
        ("image/gif", SCRIPT.encode(), '"onerror=alert(1) x="'),
        ("audio/amr", b"x", f"{SCRIPT}.amr"),
    )
    post(calling, slide_message(SCRIPT, *parts))
    submit(calling, SCRIPT.replace("<", "&lt;"))
    calling.deliver(sender=SCRIPT, recipient=SCRIPT, subject=SCRIPT, text=SCRIPT)
    message_id = calling.accepted()[0]["message_id"]
    calling.report(message_id=message_id, recipient=NUMBER, mm_status=SCRIPT)

    answer = page(calling, "/?phone=%3Cscript%3Ealert(1)%3C/script%3E")
    document = html.fromstring(answer.text)
    assert [one.get("src") for one in document.iter("script")] == ["/_sandbox/static/phones.js"]
    assert answer.text.count("&lt;script&gt;") >= 8
    assert not [
        name for one in document.iter() for name in map(str, one.attrib) if name.startswith("on") or name == "style"
    ]
    assert {one.get("href") for one in document.iter("a")} <= {
        f"/_sandbox/messages/{seq}/parts/{index}" for seq in range(1, 3) for index in range(3)
    }
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "data:" not in policy


@pytest.mark.parametrize("media_type", ["image/svg+xml", "text/html", "application/smil", "image/tiff", "text/vcard"])
def test_what_could_run_is_a_download(sandbox: RunningSandbox, media_type: str) -> None:
    post(sandbox, slide_message("x", (media_type, SCRIPT.encode(), "x")))
    seq = sandbox.messages()[0]["seq"]

    assert "<img" not in page(sandbox).text
    assert page(sandbox, f"/_sandbox/messages/{seq}/media/0").status_code == 404
    for tail in ("parts/0", "raw"):
        answer = page(sandbox, f"/_sandbox/messages/{seq}/{tail}")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert SCRIPT.encode() in answer.content or tail == "raw"


def test_what_a_phone_wrote_is_shown_on_the_same_terms(calling: RunningSandbox) -> None:
    media = [
        {"content_type": "image/gif", "base64": base64.b64encode(GIF).decode()},
        {"content_type": "image/svg+xml", "base64": base64.b64encode(SCRIPT.encode()).decode()},
    ]
    seq = calling.deliver(sender=NUMBER, media=media)["seq"]

    (phone,) = phones(calling).values()
    (picture,) = phone.iter("img")
    shown = page(calling, picture.get("src"))
    assert (shown.content, shown.headers["Content-Type"]) == (GIF, "image/gif")
    assert page(calling, f"/_sandbox/reports/{seq}/media/1").status_code == 404
    assert page(calling, f"/_sandbox/reports/{seq}/media/2").status_code == 404
    assert page(calling, f"/_sandbox/reports/{seq + 1}/media/0").status_code == 404


@pytest.mark.parametrize("path", ["/_sandbox/messages/{seq}/media/0", "/_sandbox/static/phones.css", "/"])
def test_everything_is_served_with_strict_headers(sandbox: RunningSandbox, path: str) -> None:
    post(sandbox, slide_message("x", ("image/gif", SCRIPT.encode(), "x")))
    answer = page(sandbox, path.format(seq=sandbox.messages()[0]["seq"]))

    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_only_the_pages_own_files_are_served(sandbox: RunningSandbox) -> None:
    assert page(sandbox, "/_sandbox/static/phones.js").headers["Content-Type"].startswith("text/javascript")
    for name in ("page.py", "..%2fpage.py", "%2e%2e/page.py", "phones.html"):
        assert page(sandbox, f"/_sandbox/static/{name}").status_code == 404


def test_a_long_text_is_cut_and_offered_whole(sandbox: RunningSandbox) -> None:
    post(sandbox, slide_message("x", ("text/plain", b"a" * 5000, "x.txt")))
    (phone,) = phones(sandbox).values()
    assert "a" * 4000 + "… all of it" in words(phone)
    (link,) = phone.iter("a")
    assert page(sandbox, link.get("href")).content == b"a" * 5000
