"""Pictures that people send to a short code: copied into a bucket, and a row for each message in a table.

A trigger watches the inbox and wakes the DAG; each run takes what waits, in lots. A lot that fails, or whose worker
dies, is handed out again. So each message is written under its id, and a second time changes nothing.

Connections: ``mm7_default`` (the MMSC, whose callbacks the receiver takes), ``aws_default`` (S3) and ``pictures_db``
(the table's database: of type ``postgres``, or ``sqlite`` with the path of the file as its host). The bucket is a
parameter of the run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

# [START mms_inbox]
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.triggers.mm7 import InboundMMSTrigger

#: Whose messages these are. Another DAG, under another name, would get all of them too.
CONSUMER = "pictures"

woken = Asset(
    "mms_inbox",
    watchers=[AssetWatcher(name="pictures", trigger=InboundMMSTrigger(consumer=CONSUMER, has_media=True))],
)

with DAG(
    "mms_inbox",
    schedule=[woken],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"bucket": Param("pictures", type="string", description="Bucket for the pictures")},
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:

    @task(retries=3, retry_delay=timedelta(seconds=10))
    def keep(params: dict[str, Any]) -> int:
        """Take lot after lot until nothing waits; how many messages that were."""
        inbox, s3, database = MM7Hook("mm7_default"), S3Hook("aws_default"), table_database("pictures_db")
        kept = 0
        while True:
            # Acknowledged when the block ends, given back when it raises.
            with inbox.claim_inbound(consumer=CONSUMER, has_media=True, limit=50) as messages:
                for message in messages:
                    keys = [f"inbox/{message.id}/{media.name}" for media in message.media]
                    for media, key in zip(message.media, keys, strict=True):
                        s3.load_bytes(messages.read(media), key, params["bucket"], replace=True)
                    with database.begin() as connection:
                        connection.execute(
                            INSERT,
                            {
                                "id": message.id,
                                "sender": message.sender,
                                "subject": message.subject,
                                "text": message.text,
                                "received_at": message.received_at.isoformat(),
                                "pictures": " ".join(keys),
                            },
                        )
            if not messages:
                return kept
            kept += len(messages)

    keep()
# [END mms_inbox]

INSERT = sa.text(
    "INSERT INTO mms_pictures (id, sender, subject, text, received_at, pictures) "
    "VALUES (:id, :sender, :subject, :text, :received_at, :pictures) ON CONFLICT (id) DO NOTHING"
)


def table_database(conn_id: str) -> sa.Engine:
    """The database of a connection, with the table in it."""
    connection = MM7Hook.get_connection(conn_id)
    if connection.conn_type == "sqlite":
        url = f"sqlite:///{connection.host}"
    else:
        url = connection.get_uri().replace("postgres://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(url)
    with engine.begin() as opened:
        opened.execute(
            sa.text(
                "CREATE TABLE IF NOT EXISTS mms_pictures (id BIGINT PRIMARY KEY, sender TEXT, subject TEXT, text TEXT, "
                "received_at TEXT, pictures TEXT)"
            )
        )
    return engine
