"""SendMMSBatchOperator over S3, a loopback MMSC and a real ledger; what the MMSC received is the truth."""

from __future__ import annotations

import base64
import csv
import errno
import io
import json
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_mm7.exceptions import MediaChanged, StoreUnavailable
from airflow_provider_mm7.hooks import batch
from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator
from airflow_provider_mm7.protocol import SubmitReq
from airflow_provider_mm7.sending.progress import Progress
from airflow_provider_mm7.sending.recipients.reader import read_file
from tests.media.samples import SUPPORTED
from tests.operators.conftest import TaskInstance, execution_timeout
from tests.support.mmsc import MMSC, Answer, Received, accept, mmsc, status
from tests.support.servers import SeaweedFS

GIF = next(body for name, _, body, _ in SUPPORTED if name == "gif89a")
Connect = Callable[..., None]


def operator(**parameters: Any) -> SendMMSBatchOperator:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return SendMMSBatchOperator(**{"task_id": "send", "text": "hello", **parameters})


def execute(task: SendMMSBatchOperator, ti: TaskInstance, **context: Any) -> dict[str, Any]:
    task.render_template_fields({"ti": ti, **context})  # type: ignore[typeddict-item]
    return task.execute({"ti": ti, **context})  # type: ignore[typeddict-item]


def shown(received: Received) -> tuple[str | None, list[bytes]]:
    """Subject, and the bodies of all parts but the presentation."""
    assert isinstance(received.envelope.message, SubmitReq)
    parts = [part.body for part in received.envelope.parts if not part.content_type.startswith("application/smil")]
    return received.envelope.message.subject, parts


def by_number(centre: MMSC) -> dict[str, tuple[str | None, list[bytes]]]:
    assert all(len(item.recipients) == 1 for item in centre.received)
    assert len(set(centre.numbers)) == len(centre.numbers)
    return {item.recipients[0]: shown(item) for item in centre.received}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class Bucket:
    """A bucket of one test."""

    def __init__(self, server: SeaweedFS) -> None:
        self.client = server.client()
        self.name = f"news-{secrets.token_hex(4)}"
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, body: bytes | str) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=body.encode() if isinstance(body, str) else body)
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> str:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body.decode()

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture
def bucket(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_server.airflow_connection())
    return Bucket(s3_server)


@pytest.mark.s3
def test_a_campaign_from_s3(connect: Connect, bucket: Bucket) -> None:
    bucket.put("pictures/saturn.gif", GIF)
    bucket.put("pictures/mars/red.gif", GIF + b"\0")
    logo = bucket.put("logo.gif", GIF + b"\0\0")
    people = bucket.put(
        "people.csv",
        "phone,first_name,picture\r\n+64211234567,Ann,saturn.gif\r\n"
        '+64211234568,"Bob, ""the"" builder",mars/red.gif\r\n+64211234569,Zoë,\r\n',
    )
    with mmsc() as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        task = operator(
            recipients=people,
            subject="Hello {{ row.first_name }}, news of {{ ds }}",
            text=["For {{ first_name }}.", "To all."],
            media=[logo, "{{ row.picture }}"],
            media_base=f"s3://{bucket.name}/pictures/",
        )
        result = execute(task, ti, ds="2026-01-02")

    assert by_number(centre) == {
        "+64211234567": ("Hello Ann, news of 2026-01-02", [b"For Ann.", b"To all.", GIF + b"\0\0", GIF]),
        "+64211234568": (
            'Hello Bob, "the" builder, news of 2026-01-02',
            [b'For Bob, "the" builder.', b"To all.", GIF + b"\0\0", GIF + b"\0"],
        ),
        "+64211234569": ("Hello Zoë, news of 2026-01-02", ["For Zoë.".encode(), b"To all.", GIF + b"\0\0"]),
    }
    batch_id = result["batch_id"]
    assert result == {
        "batch_id": batch_id, "total": 3, "accepted": 3, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0,
        "invalid": 0, "duplicates": 0, "results": f"s3://{bucket.name}/people.results.csv",
    }  # fmt: skip
    # Before the first POST.
    assert ti.pushed == [("batch_id", batch_id, 0)]
    sent_as = {item.recipients[0]: f"m-{item.transaction_id}" for item in centre.received}
    assert rows_of(bucket.read("people.results.csv")) == [
        {
            "line": str(line), "recipient": number, "message_id": sent_as[number], "state": "accepted",
            "status": "1000", "status_text": "Success",
        }
        for line, number in enumerate(["+64211234567", "+64211234568", "+64211234569"], start=2)
    ]  # fmt: skip


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def results_of(path: str) -> list[tuple[str, str, str]]:
    """Line, recipient, state."""
    if path.endswith(".csv"):
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(Path(path).read_text())))
    else:
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [(str(row["line"]), row["recipient"], row["state"]) for row in rows]


MIXED = "number,name\n" + "\n".join(
    ["+64211234567,Ann", "nonsense,Bob", "+64211234568,Cid", "64211234567,Ann again", "0211234567,Eve", "+64211234569"]
)


class TestLines:
    def test_nothing_is_sent_where_a_line_is_wrong_and_each_is_named(
        self, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        people = write(tmp_path / "people.csv", MIXED)
        with mmsc() as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException) as caught:
                execute(operator(recipients=people), ti)
            assert centre.received == []
        text = str(caught.value)
        assert "3 invalid" in text
        assert "line 3: ******** is not made of digits alone" in text
        assert "line 6: 0211****67 starts with 0" in text
        assert "line 7: has 1 columns where the header has 2" in text
        assert "211234567" not in text + caplog.text
        contract = ti.value("return_value")
        assert (contract["batch_id"], contract["total"], contract["planned"]) == (None, 2, 2)
        assert (contract["invalid"], contract["duplicates"]) == (3, 1)
        assert results_of(contract["results"]) == [
            ("2", "+64211234567", "planned"),
            ("3", "nonsense", "invalid"),
            ("4", "+64211234568", "planned"),
            ("5", "+64211234567", "duplicate"),
            ("6", "0211234567", "invalid"),
            ("7", "", "invalid"),
        ]

    def test_wrong_lines_are_skipped_on_demand(
        self, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        people = write(tmp_path / "people.csv", MIXED)
        with mmsc() as centre:
            connect(centre.url)
            result = execute(operator(recipients=people, on_invalid="skip"), TaskInstance(centre))
            assert sorted(centre.numbers) == ["+64211234567", "+64211234568"]
        assert (result["total"], result["accepted"], result["invalid"], result["duplicates"]) == (2, 2, 3, 1)
        assert "line 5: +6421*****67: stands in line 2 already" in caplog.text
        assert [state for _, _, state in results_of(result["results"])] == [
            "accepted", "invalid", "accepted", "duplicate", "invalid", "invalid",
        ]  # fmt: skip

    def test_duplicates_fail_on_demand(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "people.csv", "to\n+64211234567\n64211234567\n")
        with mmsc() as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException, match=r"1 duplicate:\nline 3: \+6421\*+67: stands in line 2"):
                execute(operator(recipients=people, on_duplicate="fail"), TaskInstance(centre))
            assert centre.received == []

    def test_twenty_lines_are_named_and_all_are_counted(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "people.csv", "to\n" + "x\n" * 500)
        with mmsc() as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException) as caught:
                execute(operator(recipients=people), ti)
        assert str(caught.value).count("line ") == 20
        assert "500 invalid" in str(caught.value)
        assert "and 480 more" in str(caught.value)
        assert len(results_of(ti.value("return_value")["results"])) == 500

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no recipient"),
            ("\n\n", "no recipient"),
            ("number\n", "no recipient"),
            ("+64211234567\n+64211234568\n", r"no column of numbers; the columns are '\+6421\*+67'"),
            ("name,mail\nAnn,a@b\n", "the columns are 'name', 'mail'"),
            ("number,number\n1,2\n", "'number' twice"),
            ('number,name\n+64211234567,"Ann\n', "line 2 begins a record that is no CSV"),
            ("number\n+64211234567\n\0\n", "line 3 holds a NUL byte"),
        ],
    )
    def test_files_that_cannot_be_used(self, connect: Connect, tmp_path: Path, text: str, said: str) -> None:
        with mmsc() as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException, match=said) as caught:
                execute(operator(recipients=write(tmp_path / "p.csv", text)), TaskInstance(centre))
            assert centre.received == []
        assert "64211234567" not in str(caught.value)

    def test_an_empty_file_skips_on_demand(self, connect: Connect, tmp_path: Path) -> None:
        connect("http://127.0.0.1:9/mm7")
        task = operator(recipients=write(tmp_path / "p.csv", "number\n"), skip_when_empty=True)
        with pytest.raises(AirflowSkipException):
            execute(task, TaskInstance())

    def test_a_column_can_be_named(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "number,handy\n1,+64211234567\n2,+64211234568\n")
        with mmsc() as centre:
            connect(centre.url)
            execute(operator(recipients=people, recipient_column="Handy"), TaskInstance(centre))
            assert sorted(centre.numbers) == ["+64211234567", "+64211234568"]
            with pytest.raises(AirflowFailException, match="no column 'cell'; the columns are 'number', 'handy'"):
                execute(operator(recipients=people, recipient_column="cell"), TaskInstance(centre))


class TestSources:
    def test_json_lines(self, connect: Connect, tmp_path: Path) -> None:
        lines = [
            {"to": "+64211234567", "name": "Ann", "address": {"city": "Aotea"}},
            {"to": 64211234568, "name": "Bob", "address": {"city": "Bluff"}},
        ]
        people = write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n[1]\n{")
        with mmsc() as centre:
            connect(centre.url)
            task = operator(recipients=people, text="{{ row.name }} of {{ row.address.city }}", on_invalid="skip")
            result = execute(task, TaskInstance(centre))
            assert {number: parts for number, (_, parts) in by_number(centre).items()} == {
                "+64211234567": [b"Ann of Aotea"],
                "+64211234568": [b"Bob of Bluff"],
            }
        assert result["results"] == str(tmp_path / "p.results.jsonl")
        assert results_of(result["results"]) == [
            ("1", "+64211234567", "accepted"), ("2", "+64211234568", "accepted"),
            ("4", "", "invalid"), ("5", "", "invalid"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "recipients",
        [
            ["+64211234567", 64211234568],
            [{"to": "+64211234567", "x": "O'Brien"}, {"to": "+64211234568", "x": 'a "b"'}],
            "['+64211234567', \"+64211234568\"]",
            '[{"to": "+64211234567"}, {"to": "+64211234568"}]',
            str([{"to": "+64211234567", "x": "O'Brien"}, {"to": "+64211234568", "x": None}]),
        ],
    )
    def test_lists_of_other_tasks(self, connect: Connect, recipients: Any) -> None:
        with mmsc() as centre:
            connect(centre.url)
            task = operator(recipients="placeholder")
            task.recipients = recipients
            result = task.execute({"ti": TaskInstance(centre)})  # type: ignore[typeddict-item]
            assert sorted(centre.numbers) == ["+64211234567", "+64211234568"]
        assert result["results"] is None

    @pytest.mark.parametrize("recipients", ["[1, 2", "{'uri': 'x'}", {"start": 1}, 7, " ", "people.txt"])
    def test_what_is_no_source_is_refused(self, connect: Connect, recipients: Any) -> None:
        connect("http://127.0.0.1:9/mm7")
        task = operator(recipients="placeholder")
        task.recipients = recipients
        with pytest.raises(AirflowFailException, match=r"^recipients: "):
            task.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]

    def test_a_file_that_grows_while_it_is_read_sends_nothing(
        self, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people = tmp_path / "p.csv"
        # Half of somebody's number, which is somebody else's.
        write(people, "to\n+64211234567\n+6421123")

        def read_then_grow(*args: Any, **options: Any) -> Any:
            yield from read_file(*args, **options)
            with people.open("a") as file:
                file.write("4568\n")

        monkeypatch.setattr(batch, "read_file", read_then_grow)
        with mmsc() as centre:
            connect(centre.url)
            for uri in (str(people), f"local://{people}"):
                with pytest.raises(MediaChanged, match="changed while it was read"):
                    execute(operator(recipients=uri), TaskInstance(centre))
            assert centre.received == []

    def test_results_go_where_they_are_wanted_or_nowhere(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to\n+64211234567\n")
        with mmsc() as centre:
            connect(centre.url)
            wanted = str(tmp_path / "out" / "r.jsonl")
            assert execute(operator(recipients=people, results=wanted), TaskInstance(centre))["results"] == wanted
            assert results_of(wanted) == [("2", "+64211234567", "accepted")]
            none = execute(operator(recipients=people, results="none", idempotency_key="k2"), TaskInstance(centre))
        assert none["results"] is None
        assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("mm7.db")} == {"p.csv", "out"}


class TestMedia:
    @pytest.fixture
    def pictures(self, tmp_path: Path) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        (folder / "a.gif").write_bytes(GIF)
        (folder / "b.gif").write_bytes(GIF + b"\0")
        (folder / "text.gif").write_bytes(b"not a picture")
        (tmp_path / "secret.gif").write_bytes(GIF)
        return folder

    def test_a_row_without_its_picture_is_refused_and_the_others_are_sent(
        self, connect: Connect, tmp_path: Path, pictures: Path
    ) -> None:
        names = ["a.gif", "gone.gif", "text.gif", "b.gif"]
        people = write(
            tmp_path / "p.csv", "to,pic\n" + "".join(f"+6421123456{n},{name}\n" for n, name in enumerate(names))
        )
        with mmsc() as centre:
            connect(centre.url)
            task = operator(recipients=people, media="{{ pic }}", media_base=str(pictures))
            result = execute(task, TaskInstance(centre))
            assert {number: parts[1] for number, (_, parts) in by_number(centre).items()} == {
                "+64211234560": GIF,
                "+64211234563": GIF + b"\0",
            }
        assert (result["accepted"], result["refused"]) == (2, 2)
        rows = rows_of(Path(result["results"]).read_text())
        assert [row["state"] for row in rows] == ["accepted", "refused", "refused", "accepted"]
        assert "gone.gif: no such file" in rows[1]["status_text"]
        assert "text.gif: holds text" in rows[2]["status_text"]

    @pytest.mark.parametrize(
        "path",
        ["../secret.gif", "/etc/passwd", "file:///etc/passwd", "s3://other/x.gif", "a//b.gif", "%2e%2e/secret.gif"],
    )
    def test_a_path_that_leaves_the_base_fails_before_anything_is_read(
        self, connect: Connect, tmp_path: Path, pictures: Path, path: str
    ) -> None:
        people = write(tmp_path / "p.csv", f"to,pic\n+64211234567,a.gif\n+64211234568,{path}\n")
        with mmsc() as centre:
            connect(centre.url)
            task = operator(recipients=people, media="{{ pic }}", media_base=pictures.as_uri())
            with pytest.raises(AirflowFailException, match=r"line 3: \+6421\*+68: media "):
                execute(task, TaskInstance(centre))
            assert centre.received == []

    def test_a_row_names_media_only_below_a_base(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,pic\n+64211234567,a.gif\n")
        connect("http://127.0.0.1:9/mm7")
        with pytest.raises(AirflowFailException, match="media_base: is not given"):
            execute(operator(recipients=people, media="s3://news/{{ row.pic }}"), TaskInstance())

    def test_shared_media_that_are_not_there_fail_before_anything_is_sent(
        self, connect: Connect, tmp_path: Path
    ) -> None:
        people = write(tmp_path / "p.csv", "to\n+64211234567\n")
        with mmsc() as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException, match=r"gone\.gif: no such file"):
                execute(operator(recipients=people, media=str(tmp_path / "gone.gif")), TaskInstance(centre))
            assert centre.received == []

    def test_a_base_where_no_picture_is_fails_before_anything_is_sent(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,pic\n+64211234567,a.gif\n+64211234568,b.gif\n")
        with mmsc() as centre:
            connect(centre.url)
            task = operator(recipients=people, media="{{ row.pic }}", media_base=str(tmp_path / "nowhere"))
            with pytest.raises(AirflowFailException, match=r"nowhere/a\.gif: no such file"):
                execute(task, TaskInstance(centre))
            assert centre.received == []

    @pytest.mark.s3
    def test_each_object_is_fetched_and_encoded_once(
        self, connect: Connect, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a", "b", "c"):
            bucket.put(f"pics/{name}.gif", GIF + name.encode() * 30_000)
        lines = "".join(f"+642112{n:05},{'abc'[n % 3]}.gif\n" for n in range(120))
        people = bucket.put("people.csv", "to,pic\n" + lines)
        asked: list[tuple[str, str]] = []
        encoded: list[int] = []
        make = S3Hook.get_conn
        encode = base64.encodebytes

        def counting(hook: Any) -> Any:
            client = make(hook)
            client.meta.events.register(
                "before-send.s3", lambda request, **_: asked.append((request.method, request.url.rpartition("/")[2]))
            )
            return client

        def encode_counting(body: bytes) -> bytes:
            if len(body) > 1000:
                encoded.append(len(body))
            return encode(body)

        monkeypatch.setattr(S3Hook, "get_conn", counting)
        monkeypatch.setattr(base64, "encodebytes", encode_counting)
        with mmsc() as centre:
            connect(centre.url, max_connections=64)
            task = operator(
                recipients=people, text="{{ to }}", media="{{ row.pic }}", media_base=f"s3://{bucket.name}/pics"
            )
            execute(task, TaskInstance(centre))
            pictures = {number: parts[1] for number, (_, parts) in by_number(centre).items()}
        assert pictures == {f"+642112{n:05}": GIF + b"abc"[n % 3 : n % 3 + 1] * 30_000 for n in range(120)}
        assert sorted(asked) == [
            ("GET", "a.gif"), ("GET", "b.gif"), ("GET", "c.gif"), ("GET", "people.csv"),
            ("HEAD", "a.gif"), ("HEAD", "b.gif"), ("HEAD", "c.gif"), ("PUT", "people.results.csv"),
        ]  # fmt: skip
        assert len(encoded) == 3


class TestTemplates:
    def test_values_stay_data(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,name\n+64211234567,{{ 7*7 }}\n+64211234568,{% for x in y %}\n")
        with mmsc() as centre:
            connect(centre.url)
            execute(operator(recipients=people, text="Hi {{ name }}"), TaskInstance(centre))
            assert {number: parts for number, (_, parts) in by_number(centre).items()} == {
                "+64211234567": [b"Hi {{ 7*7 }}"],
                "+64211234568": [b"Hi {% for x in y %}"],
            }

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{{ row.__class__.__mro__ }}", "no column '__class__'"),
            ("{{ name.__class__ }}", "unsafe"),
            ("{{ '{0.__class__}'.format(name) }}", "unsafe"),
            ("{{ row.nick }}", "no column 'nick'"),
            ("{{ nick }}", "'nick' is undefined"),
            ("{{ row.name + 1 }}", "TypeError"),
        ],
    )
    def test_what_cannot_be_rendered_is_told_with_its_line(
        self, connect: Connect, tmp_path: Path, text: str, said: str
    ) -> None:
        people = write(tmp_path / "p.csv", "to,name\n+64211234567,Secretname\n")
        with mmsc() as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException) as caught:
                execute(operator(recipients=people, text=text), TaskInstance(centre))
            assert centre.received == []
        assert "line 2: +6421*****67: text " in str(caught.value)
        assert said in str(caught.value)
        assert "Secretname" not in str(caught.value)

    @pytest.mark.parametrize("text", ["{{ row.name", "{% if %}", "{{ row.name | nofilter }}"])
    def test_a_broken_template_is_told_as_such(self, connect: Connect, tmp_path: Path, text: str) -> None:
        connect("http://127.0.0.1:9/mm7")
        people = write(tmp_path / "p.csv", "to\n+64211234567\n")
        with pytest.raises(AirflowFailException, match=r"^text: is no Jinja template"):
            execute(operator(recipients=people, text=text), TaskInstance())

    def test_columns_do_not_hide_airflows_names(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,ds,items,first name\n+64211234567,mine,shoes,Ann\n")
        with mmsc() as centre:
            connect(centre.url)
            text = (
                "{{ ds }} {{ row.ds }} {{ row.items }} {{ row['first name'] }} {{ params.x }} {{ ts_nodash | upper }}"
            )
            execute(
                operator(recipients=people, text=text),
                TaskInstance(centre),
                ds="2026-01-02", params={"x": "P"}, ts_nodash="t",
            )  # fmt: skip
            ((_, parts),) = by_number(centre).values()
        assert parts == [b"2026-01-02 mine shoes Ann P T"]

    def test_airflows_filters_and_the_dags_macros(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,n\n+64211234567,3\n")
        with DAG(
            "dag",
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            user_defined_macros={"double": lambda text: text * 2},
            user_defined_filters={"shout": str.upper},
        ):
            task = SendMMSBatchOperator(
                task_id="send", recipients=people, text="{{ double(n) }} {{ 'a' | shout }} {{ logical_date | ds }}"
            )
        with mmsc() as centre:
            connect(centre.url)
            execute(task, TaskInstance(centre), logical_date=datetime(2026, 1, 2, tzinfo=UTC))
            ((_, parts),) = by_number(centre).values()
        assert parts == [b"33 A 2026-01-02"]

    def test_one_content_for_all_goes_to_groups(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to,n\n" + "".join(f"+6421123456{n},{n}\n" for n in range(10)))
        with mmsc() as centre:
            connect(centre.url, recipients_per_request=4)
            execute(operator(recipients=people, text="On {{ ds }}"), TaskInstance(centre), ds="2026-01-02")
            assert sorted(len(item.recipients) for item in centre.received) == [2, 4, 4]
            task = operator(recipients=people, text="{{ n }}", idempotency_key="each")
            execute(task, TaskInstance(centre))
            assert [len(item.recipients) for item in centre.received[3:]] == [1] * 10


class TestRuns:
    def test_ten_thousand_get_it_once(self, connect: Connect, tmp_path: Path, make_sandbox: Callable[..., Any]) -> None:
        numbers = [f"+6421{n:07}" for n in range(10_000)]
        people = write(tmp_path / "p.csv", "to\n" + "\n".join(numbers) + "\n")
        sandbox = make_sandbox()
        connect(sandbox.url, login=sandbox.login, password=sandbox.password)
        result = execute(operator(recipients=people), TaskInstance())
        assert (result["total"], result["accepted"]) == (10_000, 10_000)
        received = [number for one in sandbox.accepted() for number in one["recipients"]]
        assert sorted(received) == numbers
        rows = rows_of(Path(result["results"]).read_text())
        assert [row["recipient"] for row in rows] == numbers
        assert len({row["message_id"] for row in rows}) == 10_000

    def test_the_next_try_sends_the_rest_and_the_results_are_complete(self, connect: Connect, tmp_path: Path) -> None:
        numbers = [f"+6421123456{n}" for n in range(8)]
        people = write(tmp_path / "p.csv", "to\n" + "\n".join(numbers) + "\n")

        with mmsc() as centre:
            connect(centre.url, max_connections=1)
            task = operator(recipients=people)
            ti = TaskInstance(centre)
            seen: list[str] = []

            def stop_after_four(received: Received) -> Answer:
                seen.append(received.recipients[0])
                if len(seen) == 4:
                    task.on_kill()
                return accept(received)

            centre.answer = stop_after_four
            with pytest.raises(AirflowException, match="4 of 8 not sent yet"):
                execute(task, ti)
            first = ti.value("return_value")
            assert (first["accepted"], first["planned"]) == (4, 4)
            assert sorted(state for _, _, state in results_of(first["results"])) == ["accepted"] * 4 + ["planned"] * 4

            centre.answer = accept
            second = execute(operator(recipients=people), TaskInstance(centre))
            assert sorted(centre.numbers) == numbers
        assert (second["batch_id"], second["accepted"]) == (first["batch_id"], 8)
        assert results_of(second["results"]) == [
            (str(line), number, "accepted") for line, number in enumerate(numbers, start=2)
        ]

    def test_the_results_are_written_when_the_execution_timeout_ends_the_task(
        self, connect: Connect, tmp_path: Path
    ) -> None:
        numbers = [f"+6421123456{n}" for n in range(4)]
        people = write(tmp_path / "p.csv", "to\n" + "\n".join(numbers) + "\n")
        with execution_timeout() as late, mmsc(late) as centre:
            connect(centre.url, max_connections=1)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowTaskTimeout):
                execute(operator(recipients=people), ti)
            assert len(centre.received) == 1
        contract = ti.value("return_value")
        assert (contract["accepted"], contract["planned"]) == (1, 3)
        assert [state for _, _, state in results_of(contract["results"])] == ["accepted"] + ["planned"] * 3

    def test_a_corrected_file_counts(self, connect: Connect, tmp_path: Path) -> None:
        people = tmp_path / "p.csv"
        write(people, "to\n+64211234560\n+64211234561\n+64211234562\n")
        with mmsc() as centre:
            connect(centre.url, max_connections=1)
            task = operator(recipients=str(people))

            def one(received: Received) -> Answer:
                task.on_kill()
                return accept(received)

            centre.answer = one
            with pytest.raises(AirflowException, match="2 of 3 not sent yet"):
                execute(task, TaskInstance(centre))
            # The first was sent; of the others one is withdrawn and one comes new.
            write(people, "to\n+64211234562\n+64211234569\n")
            centre.answer = accept
            result = execute(operator(recipients=str(people)), TaskInstance(centre))
            assert centre.numbers == ["+64211234560", "+64211234562", "+64211234569"]
        assert (result["total"], result["accepted"]) == (3, 3)
        assert results_of(result["results"]) == [
            ("2", "+64211234562", "accepted"),
            ("3", "+64211234569", "accepted"),
            ("", "+64211234560", "accepted"),
        ]

    def test_refusals_fail_when_all_are_refused(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to\n+64211234567\n+64211234568\n")
        with mmsc(status(2007, "unknown")) as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException, match="2 of 2 refused"):
                execute(operator(recipients=people), ti)
        rows = rows_of(Path(ti.value("return_value")["results"]).read_text())
        assert [(row["state"], row["status"], row["status_text"]) for row in rows] == [
            ("refused", "2007", "unknown")
        ] * 2

    def test_what_is_wrong_with_the_message_is_found_before_anything_is_sent(
        self, connect: Connect, tmp_path: Path
    ) -> None:
        people = write(tmp_path / "p.csv", "to,n\n+64211234567,1\n")
        with mmsc() as centre:
            connect(centre.url)
            for wrong in ({"priority": "Urgent"}, {"smil": "<smil/>"}, {"expiry": "soon"}, {"text": " "}):
                with pytest.raises(AirflowFailException, match=rf"(?s){next(iter(wrong))}"):
                    execute(operator(**{"recipients": people, "text": "{{ n }}", **wrong}), TaskInstance(centre))
            assert centre.received == []

    def test_results_that_cannot_be_written_do_not_hide_what_was_sent(self, connect: Connect, tmp_path: Path) -> None:
        people = write(tmp_path / "p.csv", "to\n+64211234567\n")
        (tmp_path / "file").write_text("")
        with mmsc() as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException, match=r"^results: "):
                execute(operator(recipients=people, results=str(tmp_path / "file" / "r.csv")), ti)
        contract = ti.value("return_value")
        assert (contract["accepted"], contract["results"]) == (1, None)

    def test_progress_is_told_in_the_log(
        self, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batch, "Progress", partial(Progress, interval_s=0.0))
        people = write(tmp_path / "p.csv", "to\n" + "".join(f"+6421123456{n}\n" for n in range(8)))
        with mmsc() as centre, caplog.at_level("INFO"):
            connect(centre.url)
            execute(operator(recipients=people), TaskInstance(centre))
        told = [record.getMessage() for record in caplog.records if " messages/s, " in record.getMessage()]
        assert re.fullmatch(r"8 of 8 done, [\d.]+ messages/s, 0:00:00 left: 8 accepted, 0 refused, 0 unknown", told[-1])

    def test_what_was_sent_is_told_when_the_ledger_fails_on_the_way(
        self, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(Progress, "settled", away)
        people = write(tmp_path / "p.csv", "to\n+64211234567\n+64211234568\n")
        with mmsc() as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(StoreUnavailable):
                execute(operator(recipients=people), ti)
            assert sorted(centre.numbers) == ["+64211234567", "+64211234568"]
        contract = ti.value("return_value")
        assert contract["batch_id"] == ti.value("batch_id")
        assert (contract["total"], contract["accepted"], contract["duplicates"]) == (2, 2, 0)

    def test_a_disk_too_full_for_results_does_not_hide_what_was_sent(
        self, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(batch, "write_results", full)
        people = write(tmp_path / "p.csv", "to\n+64211234567\n")
        with mmsc() as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(StoreUnavailable, match="No space left"):
                execute(operator(recipients=people), ti)
        assert ti.value("return_value")["accepted"] == 1

    def test_preview_shows_the_first_row_and_sends_nothing(
        self, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        people = write(tmp_path / "p.csv", "to,name\n+64211234567,Ann\n+64211234568,Bob\n")
        with mmsc() as centre:
            connect(centre.url)
            with caplog.at_level("INFO"):
                result = execute(
                    operator(recipients=people, text="Dear {{ name }}", preview=True), TaskInstance(centre)
                )
            assert centre.received == []
        assert "the first of 2 recipients; 2 different contents" in caplog.text
        assert "+6421*****67" in caplog.text
        assert "Ann" not in caplog.text
        assert (result["batch_id"], result["total"], result["planned"]) == (None, 2, 2)
        assert not (tmp_path / "p.results.csv").exists()
