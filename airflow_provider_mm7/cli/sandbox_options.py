"""The options of ``airflow mm7 sandbox``, as literals.

The sandbox's own settings are the source, and a test holds the two together. They are repeated here because every start
of Airflow's command line reads this, and the sandbox's package takes half a second to import.
"""

from __future__ import annotations

from airflow.cli.cli_config import Arg

from airflow_provider_mm7.cli.options import option

SANDBOX_ARGS: tuple[Arg, ...] = (
    option("--host", type=str, default="127.0.0.1", help="address to listen on (default: %(default)s)"),
    option("--port", type=int, default=8077, help="port to listen on; 0 picks a free one (default: %(default)s)"),
    option(
        "--login",
        type=str,
        default="",
        help="login that a client must present; empty: any Basic credentials (Digest: sandbox)",
    ),
    option(
        "--password", type=str, default="sandbox", help="password that a client must present (default: %(default)s)"
    ),
    option(
        "--auth",
        type=str,
        default="basic",
        help="HTTP authentication asked of clients (default: %(default)s)",
        choices=("basic", "digest"),
    ),
    option(
        "--digest-algorithm",
        type=str,
        default="MD5",
        help="hash of Digest authentication (default: %(default)s)",
        choices=("MD5", "SHA-256"),
    ),
    option(
        "--callback-url",
        type=str,
        default="",
        help="where delivery reports and messages from handsets are posted, with credentials in it if they are "
        "percent-encoded; empty: nowhere",
    ),
    option("--callback-login", type=str, default="", help="login of the callback"),
    option("--callback-password", type=str, default="", help="password of the callback"),
    option(
        "--report-delay",
        type=float,
        default=0.2,
        help="seconds from the answer to the delivery report (default: %(default)s)",
        metavar="SECONDS",
    ),
    option(
        "--late-seconds",
        type=float,
        default=5.0,
        help="seconds that a late report (recipient ...5106) takes (default: %(default)s)",
        metavar="SECONDS",
    ),
    option(
        "--report-retries",
        type=int,
        default=5,
        help="how often a callback that was not acknowledged is sent again (default: %(default)s)",
    ),
    option(
        "--report-retry-delay",
        type=float,
        default=1.0,
        help="seconds between those attempts (default: %(default)s)",
        metavar="SECONDS",
    ),
    option(
        "--report-timeout",
        type=float,
        default=10.0,
        help="seconds in which a callback must be answered (default: %(default)s)",
        metavar="SECONDS",
    ),
    option(
        "--report-connections",
        type=int,
        default=4,
        help="callbacks in flight at the same moment (default: %(default)s)",
    ),
    option(
        "--slow-seconds",
        type=float,
        default=3.0,
        help="seconds that a slow answer (recipient ...0907) takes (default: %(default)s)",
        metavar="SECONDS",
    ),
    option(
        "--quirks",
        type=str,
        default="none",
        help="vendor: callbacks spelled as on the vendor's page, malformed XML too (default: %(default)s)",
        choices=("none", "vendor"),
    ),
    option(
        "--pedantic",
        action="store_true",
        default=False,
        help="refuse what the vendor's own examples do against the schema, too",
    ),
    option(
        "--max-message-bytes",
        type=int,
        default=1048576,
        help="longest HTTP body accepted, in bytes (default: %(default)s)",
    ),
    option(
        "--recipients-per-request",
        type=int,
        default=100,
        help="most recipients in one SubmitReq; more are refused with 3003 (default: %(default)s)",
    ),
    option(
        "--accept-namespace",
        type=str,
        default="",
        help="one more MM7 namespace to accept besides 3GPP's",
        metavar="URI",
    ),
    option(
        "--schema",
        type=str,
        default="",
        help="XML Schema file that each request is held against as well (or set MM7_XSD)",
        metavar="FILE",
    ),
    option(
        "--keep",
        type=int,
        default=10000,
        help="of how many messages the SOAP text and the raw body are kept (default: %(default)s)",
    ),
    option(
        "--keep-bytes",
        type=int,
        default=268435456,
        help="bytes of raw bodies kept, shared media counted once (default: %(default)s)",
    ),
    option(
        "--expose-control",
        action="store_true",
        default=False,
        help="answer the page and /_sandbox to other machines too (they hold every message in the clear)",
    ),
)
