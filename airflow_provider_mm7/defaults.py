"""What holds for an MMSC whose connection says nothing else. Beside the rooms, since both ends of the house read it."""

from __future__ import annotations

from typing import Final

#: Seconds to establish a connection: a host that does not answer the handshake by then is down.
CONNECT_TIMEOUT_S: Final = 10.0
#: Seconds to wait for an answer: an MMSC checks subscribers before it answers, carriers allow up to a minute.
READ_TIMEOUT_S: Final = 60.0
#: Connections to one MMSC; carriers commonly allow 10 to 20 per application.
MAX_CONNECTIONS: Final = 16
#: Bytes of a whole encoded message; carriers' practical limits run from 300 KB to 1.2 MB.
MAX_MESSAGE_BYTES: Final = 1_048_576
