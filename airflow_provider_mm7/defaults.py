"""What holds where a connection or a DAG says nothing else. Beside the rooms, since both ends of the house read it."""

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
#: HTTP errors by which a gateway says that it handed the message on and got no answer, or none that it understood: 504
#: (RFC 9110 clause 15.6.5), Cloudflare's 520 and 524, and what some proxies call their own time-outs.
DOUBTFUL_STATUSES: Final = frozenset({504, 520, 524, 598, 599})

#: Consumer of messages from handsets, for a DAG that names none.
INBOUND_CONSUMER: Final = "default"
#: Messages of one claim. A picture message has about 300 kB: such a lot is handled in minutes.
INBOUND_LIMIT: Final = 100
#: Seconds until messages of a worker that died are handed out again; renewed three times in that time.
INBOUND_LEASE_S: Final = 120.0
#: Seconds between two looks for new messages: people who sent one wait for an answer.
INBOUND_POLL_S: Final = 5.0
#: Seconds until an event is repeated while messages wait: a DAG run takes up to a minute to begin.
INBOUND_REFIRE_S: Final = 60.0
