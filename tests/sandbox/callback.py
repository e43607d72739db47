"""A callback for the sandbox to post to, which remembers and answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ACKNOWLEDGED = (
    b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><DeliveryReportRsp>'
    b"<Status><StatusCode>1000</StatusCode></Status></DeliveryReportRsp></e:Body></e:Envelope>"
)
ACCEPTED = (200, _ACKNOWLEDGED)


@dataclass(frozen=True)
class Posted:
    """One request."""

    headers: dict[str, str]
    body: bytes


class CallbackServer:
    """Listens on a free port in a thread.

    :ivar posted: what came, in order.
    :ivar answer: gives status and body for each request.
    """

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.answer: Callable[[Posted], tuple[int, bytes]] = lambda _posted: ACCEPTED
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Posted(headers={name.lower(): value for name, value in self.headers.items()}, body=body)
                outer.posted.append(request)
                status, answer = outer.answer(request)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/callback"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> CallbackServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
