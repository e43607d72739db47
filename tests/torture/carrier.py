"""A carrier that outlives the receivers it calls: posts each callback until it is acknowledged, and remembers it.

A callback that got no answer, or another than 200 with status 1000, comes again with the same bytes, as carriers do.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.receiver import callbacks

PATH = "/mm7/callback"
LOGIN, PASSWORD = "vasp", "secret"
#: Connections that call at once.
CONNECTIONS = 6
#: Of so many callbacks one is a message from a handset, with so many pictures of up to so many bytes.
MESSAGE_OF = 5
PICTURES, PICTURE_BYTES = 3, 20_000
#: Seconds until a callback comes again, and until an answer is given up: a receiver that was killed answers nothing.
AGAIN_S, ANSWER_S = 0.02, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A report on a message, or a message from a handset.

    :ivar name: MessageID of a report; LinkedID of a message.
    :ivar media: SHA-256 of the parts of a message, in their order; empty for a report.
    """

    name: str
    body: bytes
    content_type: str
    media: tuple[str, ...] = ()


class Carrier:
    """The callers, and what they were told.

    :ivar acknowledged: callbacks answered with status 1000, by name.
    :ivar posts: requests begun; what is more than acknowledged came again, or is on its way.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port = port
        self._rng = rng
        self._lock = threading.Condition()
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._made = 0
        self.acknowledged: dict[str, Callback] = {}
        self.posts = 0

    def snapshot(self) -> dict[str, Callback]:
        """Return :attr:`acknowledged` as it is now."""
        with self._lock:
            return dict(self.acknowledged)

    def wait_for(self, count: int, *, seconds: float) -> bool:
        """Wait until so many callbacks are acknowledged."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self.acknowledged) >= count, seconds)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call for the time of a ``with`` block.

        When it ends in order, each callback that was begun is acknowledged.
        """
        threads = [threading.Thread(target=self._call) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException:
            self._given_up.set()
            raise
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        while not self._ended.is_set():
            callback = self._next()
            while not self._post(connection, callback):
                if self._given_up.wait(AGAIN_S):
                    return
            with self._lock:
                self.acknowledged[callback.name] = callback
                self._lock.notify_all()
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, callback: Callback) -> bool:
        with self._lock:
            self.posts += 1
        headers = callbacks.headers(callback.content_type, login=LOGIN, password=PASSWORD)
        try:
            connection.request("POST", PATH, callback.body, headers)
            answer = connection.getresponse()
            return answer.status == 200 and b">1000<" in answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False

    def _next(self) -> Callback:
        with self._lock:
            self._made += 1
            number, seed = self._made, self._rng.getrandbits(64)
        if number % MESSAGE_OF:
            name = f"report-{number}"
            return Callback(name=name, body=callbacks.report(name), content_type=callbacks.XML)
        return _message(f"message-{number}", random.Random(seed))


def _message(name: str, rng: random.Random) -> Callback:
    soap = callbacks.envelope(
        f'<DeliverReq xmlns="{callbacks.MM7}"><MM7Version>6.8.0</MM7Version><LinkedID>{name}</LinkedID>'
        f"<Sender><Number>{callbacks.RECIPIENT}</Number></Sender></DeliverReq>",
        transaction_id=name,
    )
    pictures = [rng.randbytes(rng.randint(1, PICTURE_BYTES)) for _ in range(PICTURES)]
    parts = [
        b"--b\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(picture)
        for picture in pictures
    ]
    body = b"--b\r\nContent-Type: text/xml\r\n\r\n" + soap + b"\r\n" + b"\r\n".join(parts) + b"\r\n--b--\r\n"
    return Callback(
        name=name,
        body=body,
        content_type="multipart/related; boundary=b",
        media=tuple(hashlib.sha256(picture).hexdigest() for picture in pictures),
    )
