"""``/_sandbox``: what it tells and takes, and from whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.sandbox.client import basic, connection, envelope, headers, multipart, submit, submit_body
from tests.support.sandbox import PATIENCE_S, RunningSandbox

NUMBER = "+64211234567"


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
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
        # Another port of this machine: Origin's host is ours, its port is not.
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 403),
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


@pytest.mark.parametrize("path", ["/", "/_sandbox/messages", "/_sandbox/static/phones.js"])
def test_other_sites_may_link_here_and_no_more(sandbox: RunningSandbox, path: str) -> None:
    def ask(**sent: str) -> int:
        given = {f"Sec-Fetch-{name}": value for name, value in sent.items()}
        return requests.get(sandbox.base_url + path, headers=given, timeout=PATIENCE_S).status_code

    assert ask(Site="cross-site", Mode="no-cors", Dest="script") == 403
    assert ask(Site="same-site", Mode="cors", Dest="empty") == 403
    assert ask(Site="cross-site", Mode="navigate", Dest="iframe") == 403
    assert ask(Site="cross-site", Mode="navigate", Dest="document") == 200
    assert ask(Site="same-origin", Mode="cors", Dest="empty") == 200
    assert ask(Site="none", Mode="navigate", Dest="document") == 200


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
