"""The ways to send that are compared. Each imports what it needs and nothing else, since its memory is measured too."""

from __future__ import annotations

import subprocess
import threading
from abc import ABC, abstractmethod
from base64 import b64encode, encodebytes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.benchmarks import message
from tests.benchmarks.spec import Run

if TYPE_CHECKING:
    from airflow_provider_mm7.sending import Prepared


class Way(ABC):
    """A way to send a message to many."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.picture = message.picture(run.image_bytes)

    def prepare(self, count: int) -> None:  # noqa: B027  # most ways have nothing to do
        """Do what comes before the first message."""

    @abstractmethod
    def send(self, count: int) -> None:
        """Send to so many recipients, and return when every answer was read."""

    def counts(self) -> dict[str, int]:
        """Return what else was counted."""
        return {}

    def close(self) -> None:  # noqa: B027  # most ways have nothing to do
        """Give back what is held."""


class Naive(Way):
    """What a first script does: build each message with email.mime, ``requests.post`` it, one after another."""

    def send(self, count: int) -> None:
        import xml.etree.ElementTree as ET
        from email.mime.image import MIMEImage
        from email.mime.multipart import MIMEMultipart
        from email.mime.text import MIMEText

        import requests

        for index in range(count):
            outer = MIMEMultipart("related", type="text/xml", start="<soap>")
            envelope = MIMEText(message.soap(index), "xml", "us-ascii")
            envelope["Content-ID"] = "<soap>"
            outer.attach(envelope)
            inner = MIMEMultipart("mixed")
            inner["Content-ID"] = "<content>"
            inner.attach(MIMEText(message.TEXT, "plain", "us-ascii"))
            inner.attach(MIMEImage(self.picture, "jpeg"))
            outer.attach(inner)
            body = outer.as_bytes().split(b"\n\n", 1)[1]
            answer = requests.post(
                self.run.url,
                data=body,
                headers={"Content-Type": outer["Content-Type"].replace("\n", ""), "SOAPAction": '""'},
                auth=(message.LOGIN, message.PASSWORD),
                timeout=60,
            )
            answer.raise_for_status()
            _must_be_accepted(ET.fromstring(answer.content).find(".//{*}StatusCode"))


def _must_be_accepted(code: Any) -> None:
    if code is None or code.text != "1000":
        raise RuntimeError("not accepted")


class Shared(Way):
    """Ways that encode the picture once: header and SOAP of each message, then bytes that all share."""

    boundary = "outer0"

    def prepare(self, count: int) -> None:
        encoded = encodebytes(self.picture).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
        self.tail = (
            b'\r\n--outer0\r\nContent-Type: multipart/mixed; boundary="inner0"\r\nContent-ID: <content>\r\n\r\n'
            b"--inner0\r\nContent-Type: text/plain\r\n\r\n" + message.TEXT.encode() + b"\r\n"
            b"--inner0\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        )
        self.media = encoded
        self.end = b"\r\n--inner0--\r\n--outer0--\r\n"
        self.headers = {
            "Content-Type": 'multipart/related; type="text/xml"; start="<soap>"; boundary="outer0"',
            "SOAPAction": '""',
            "Authorization": "Basic " + b64encode(f"{message.LOGIN}:{message.PASSWORD}".encode()).decode(),
        }

    def body(self, index: int) -> tuple[bytes, bytes, bytes]:
        """Return the pieces of a message."""
        head = b'--outer0\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-ID: <soap>\r\n\r\n'
        return head + message.soap(index).encode() + self.tail, self.media, self.end

    def in_threads(self, count: int, work: Callable[[int], None]) -> None:
        """Do the work for each index, in as many threads as there are connections."""
        if self.run.connections == 1:
            for index in range(count):
                work(index)
            return
        indices = iter(range(count))
        lock, errors = threading.Lock(), []

        def loop() -> None:
            while True:
                with lock:
                    index = next(indices, None)
                if index is None:
                    return
                try:
                    work(index)
                except Exception as exc:
                    errors.append(exc)
                    return

        threads = [threading.Thread(target=loop) for _ in range(self.run.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


class Urllib3(Shared):
    """The ceiling: urllib3's pool, bytes that are ready, an answer that is searched and not parsed."""

    def prepare(self, count: int) -> None:
        import urllib3

        super().prepare(count)
        url = urlsplit(self.run.url)
        self.path = url.path
        self.pool = urllib3.HTTPConnectionPool(
            str(url.hostname), url.port, maxsize=self.run.connections, block=True, retries=False, timeout=60
        )

    def send(self, count: int) -> None:
        self.in_threads(count, self._post)

    def _post(self, index: int) -> None:
        body = self.body(index)
        headers = {**self.headers, "Content-Length": str(sum(map(len, body)))}
        answer = self.pool.urlopen("POST", self.path, body=body, headers=headers)
        if answer.status != 200 or b"<StatusCode>1000<" not in answer.data:
            raise RuntimeError("not accepted")

    def close(self) -> None:
        self.pool.close()


class _Pieces:
    """A body that requests sends with a Content-Length and does not copy."""

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class Session(Shared):
    """One requests.Session without environment look-ups, the body as pieces."""

    def prepare(self, count: int) -> None:
        import requests

        super().prepare(count)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=self.run.connections, pool_block=True))

    def send(self, count: int) -> None:
        self.in_threads(count, self._post)

    def _post(self, index: int) -> None:
        body: Any = _Pieces(self.body(index))
        answer = self.session.post(self.run.url, data=body, headers=self.headers, timeout=60)
        if answer.status_code != 200 or b"<StatusCode>1000<" not in answer.content:
            raise RuntimeError("not accepted")

    def close(self) -> None:
        self.session.close()


class Curl(Shared):
    """A curl process for each message, the picture encoded once."""

    def send(self, count: int) -> None:
        headers = [item for name, value in self.headers.items() for item in ("-H", f"{name}: {value}")]
        command = ["curl", "--silent", "--show-error", "--fail", "--data-binary", "@-", *headers, self.run.url]
        for index in range(count):
            done = subprocess.run(command, input=b"".join(self.body(index)), stdout=subprocess.PIPE, check=True)
            if b"<StatusCode>1000<" not in done.stdout:
                raise RuntimeError("not accepted")


class Product(Way):
    """This package, from checked numbers to results in the ledger; the ledger is the run's, or one that forgets."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        from airflow_provider_mm7.store import Store, open_store
        from airflow_provider_mm7.transport import Endpoint, MMSCClient
        from tests.benchmarks.noledger import NoLedger

        self.store: Store = open_store(run.ledger, migrate=True) if run.ledger else NoLedger()
        self.client = MMSCClient(
            Endpoint(url=run.url, login=message.LOGIN, password=message.PASSWORD, max_connections=run.connections)
        )
        self.prepared: Prepared | None = None

    def prepare(self, count: int) -> None:
        from airflow_provider_mm7.media import MediaObject
        from airflow_provider_mm7.protocol import SenderIdentification
        from airflow_provider_mm7.sending import Draft, Profile, prepare, utc_now

        picture = self.picture

        class Source:
            """The picture, whatever is asked for."""

            def fetch(self, uri: str, *, limit: int) -> MediaObject:
                return MediaObject(uri=uri, body=picture, name="saturn.jpg")

        draft = Draft(
            to=tuple(message.number(index) for index in range(count)),
            subject=message.SUBJECT,
            text=(message.TEXT,),
            media=("s3://news/saturn.jpg",),
        )
        profile = Profile(
            sender=SenderIdentification(vasp_id="demo", vas_id="news"),
            # The size is what is varied, not what is judged.
            max_message_bytes=1 << 26,
        )
        self.prepared = prepare(draft, profile, Source(), now=utc_now())

    def send(self, count: int) -> None:
        import uuid

        from airflow_provider_mm7.sending import send

        if self.prepared is None:
            raise RuntimeError("not prepared")
        result = send(
            self.prepared, store=self.store, client=self.client, key=f"bench/{uuid.uuid4()}", conn_id="mm7_default"
        )
        if result.summary.accepted != count:
            raise RuntimeError(f"not accepted: {result.summary} {result.halted_by}")

    def close(self) -> None:
        self.client.close()
        self.store.close()


def make(run: Run) -> Way:
    """Return the run's way."""
    if run.way == "operator":
        from tests.benchmarks.operator_way import Operator

        return Operator(run)
    ways: dict[str, type[Way]] = {
        "naive": Naive,
        "curl": Curl,
        "session": Session,
        "urllib3": Urllib3,
        "mm7": Product,
    }
    return ways[run.way](run)
