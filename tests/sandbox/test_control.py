"""The page and ``/_sandbox``: what they show, and to whom."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import requests

from tests.sandbox.client import GIF, basic, connection, envelope, headers, multipart, post, submit, submit_body
from tests.support.sandbox import PATIENCE_S, RunningSandbox

NUMBER = "+64211234567"
SCRIPT = "<script>alert(1)</script>"


def slide_message(subject: str, *parts: tuple[str, bytes, str]) -> bytes:
    """A message of named parts."""
    lines = ["--outer\r\nContent-Type: text/xml\r\nContent-ID: <start@vasp>\r\n"]
    escaped = subject.replace("&", "&amp;").replace("<", "&lt;")
    lines.append(envelope(submit_body(NUMBER).replace(">News</Subject>", f">{escaped}</Subject>")))
    lines.append('--outer\r\nContent-Type: multipart/related; boundary="inner"\r\nContent-ID: <content@vasp>\r\n')
    for media_type, body, name in parts:
        encoded = base64.b64encode(body).decode()
        lines.append(
            f"--inner\r\nContent-Type: {media_type}\r\nContent-ID: <{name}>\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}"
        )
    lines.append("--inner--\r\n--outer--\r\n")
    return "\r\n".join(lines).encode()


def page(sandbox: RunningSandbox) -> requests.Response:
    """The handset page."""
    return requests.get(sandbox.base_url + "/", timeout=PATIENCE_S)


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

    answer = page(sandbox)
    order = [
        answer.text.index(one)
        for one in ("Saturn", 'alt="second.gif"', "zweit", 'alt="first.gif"', "erst ü", "forgotten.amr")
    ]
    assert order == sorted(order)
    assert answer.text.count('class="slide"') == 3
    assert "smil" not in answer.text
    picture = answer.text.partition('<img src="')[2].partition('"')[0]
    shown = requests.get(sandbox.base_url + picture, timeout=PATIENCE_S)
    assert (shown.content, shown.headers["Content-Type"]) == (GIF, "image/gif")
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in shown.headers["Content-Security-Policy"]


def test_nothing_foreign_becomes_markup(sandbox: RunningSandbox) -> None:
    body = slide_message(
        SCRIPT,
        ("text/plain", SCRIPT.encode(), "x.txt"),
        ("image/gif", SCRIPT.encode(), '"onerror=alert(1) x="'),
    )
    post(sandbox, body)
    submit(sandbox, SCRIPT.replace("<", "&lt;"))

    answer = page(sandbox)
    assert "<script" not in answer.text
    assert answer.text.count("&lt;script&gt;") >= 3
    assert '"onerror' not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("media_type", ["image/svg+xml", "text/html", "image/tiff", "text/vcard"])
def test_what_could_run_is_a_download(sandbox: RunningSandbox, media_type: str) -> None:
    post(sandbox, slide_message("x", (media_type, SCRIPT.encode(), "x")))
    seq = sandbox.messages()[0]["seq"]

    assert "<img" not in page(sandbox).text
    address = f"{sandbox.base_url}/_sandbox/messages/{seq}"
    assert requests.get(f"{address}/media/0", timeout=PATIENCE_S).status_code == 404
    for tail in ("parts/0", "raw"):
        answer = requests.get(f"{address}/{tail}", timeout=PATIENCE_S)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert SCRIPT.encode() in answer.content or tail == "raw"


def test_the_page_tells_what_became_of_messages(sandbox: RunningSandbox) -> None:
    submit(sandbox, "+15005552002")
    submit(sandbox, "+15005550503")

    text = page(sandbox).text
    assert "SubmitReq 2002 Address error" in text
    assert "not accepted: http-503" in text
    assert "2 received, 0 accepted" in text
    assert 'http-equiv="refresh"' in text


def test_an_empty_page(sandbox: RunningSandbox) -> None:
    assert "No message yet" in page(sandbox).text


def test_messages_after_and_fields(sandbox: RunningSandbox) -> None:
    for last in range(5):
        submit(sandbox, f"+6421123456{last}")
    first = sandbox.messages()[0]["seq"]

    assert [one["seq"] - first for one in sandbox.messages(after=first + 2)] == [3, 4]
    assert sandbox.messages(after=first + 4) == []
    narrow = sandbox.ask("GET", "/messages?limit=2&fields=recipients,accepted")
    assert narrow == [{"recipients": [f"+6421123456{last}"], "accepted": True} for last in range(2)]
    assert sandbox.ask("GET", f"/messages/{first}")["recipients"] == ["+64211234560"]


def test_a_long_list_is_one_json_document(sandbox: RunningSandbox) -> None:
    body = multipart(envelope(submit_body(NUMBER)))
    mmsc = connection(sandbox)
    for _ in range(401):
        mmsc.request("POST", "/mm7", body=body, headers=headers(Authorization=basic(sandbox)))
        mmsc.getresponse().read()
    mmsc.close()
    assert len(sandbox.messages()) == 401
    assert len(sandbox.ask("GET", "/messages?limit=400")) == 400


def test_clear_forgets_messages_scripts_and_counters(sandbox: RunningSandbox) -> None:
    submit(sandbox, "+15005550601")
    sandbox.script({"status_code": 2001})
    seq = sandbox.messages()[0]["seq"]
    sandbox.clear()

    assert sandbox.messages() == []
    assert sandbox.ask("GET", "/script") == []
    assert [submit(sandbox, "+15005550601").status_code for _ in range(3)] == [429, 429, 200]
    assert sandbox.messages()[0]["seq"] > seq


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/script", "/deliver", "/report"])
def test_pages_of_other_sites_change_nothing(
    sandbox: RunningSandbox, path: str, changes: dict[str, str], status: int
) -> None:
    answer = requests.post(f"{sandbox.base_url}/_sandbox{path}", data=b"[]", headers=changes, timeout=PATIENCE_S)
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/", "/_sandbox/messages", "/_sandbox/health"])
def test_names_that_point_here_by_tricks_see_nothing(sandbox: RunningSandbox, path: str) -> None:
    answer = requests.get(sandbox.base_url + path, headers={"Host": "evil.example"}, timeout=PATIENCE_S)
    assert answer.status_code == 403
    for host in ("localhost:1234", "127.0.0.1", "[::1]:80"):
        assert requests.get(sandbox.base_url + path, headers={"Host": host}, timeout=PATIENCE_S).status_code == 200


def test_control_can_be_opened(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(expose_control=True)
    answer = requests.get(sandbox.base_url + "/", headers={"Host": "sandbox.example"}, timeout=PATIENCE_S)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/deliver", {}),
        ("/deliver", []),
        ("/deliver", {"sender": "+1", "media": [{"content_type": "x\r\ny: z", "base64": ""}]}),
        ("/deliver", {"sender": "+1", "media": [{"content_type": "image/gif", "base64": "!"}]}),
        ("/deliver", {"sender": "+1", "media": [{"content_type": "image/gif", "base64": "", "name": "a\r\nb"}]}),
        ("/report", {"message_id": "1"}),
        ("/report", {"message_id": "1", "mm_status": "Retrieved"}),
    ],
)
def test_bad_orders_are_refused(sandbox: RunningSandbox, path: str, body: object) -> None:
    answer = requests.post(f"{sandbox.base_url}/_sandbox{path}", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_there_is_nowhere_to_deliver_to_without_a_callback(sandbox: RunningSandbox) -> None:
    answer = requests.post(f"{sandbox.base_url}/_sandbox/deliver", json={"sender": "+1"}, timeout=PATIENCE_S)
    assert answer.status_code == 409
