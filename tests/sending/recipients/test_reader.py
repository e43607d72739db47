"""Recipients files as records, however the stream is cut."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.sending.recipients import reader
from airflow_provider_mm7.sending.recipients.reader import FileName, Record, read_file, read_header, read_list
from tests.sending.recipients.streams import Pieces

CSV, JSONL = FileName.of("p.csv"), FileName.of("p.jsonl")

#: Values as people write them, and as they should not.
VALUES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from(list("\",;\t\r\n'{} \u2028\x85\x0b")),
    max_size=8,
)
NAMES = ["number", "first name", "zoë"]


def read(body: bytes, name: FileName = CSV, cuts: list[int] | None = None, **options: object) -> list[Record]:
    return list(read_file(Pieces(body, cuts or []), name, **options))  # type: ignore[arg-type]


def told(records: list[Record]) -> list[tuple[int, object]]:
    return [(record.line, record.problem or dict(record.values)) for record in records]


class TestCsv:
    @given(
        rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=5),
        delimiter=st.sampled_from(",;\t"),
        end=st.sampled_from(["\n", "\r\n", "\r"]),
        bom=st.booleans(),
        cuts=st.lists(st.integers(1, 300), max_size=20),
    )
    def test_what_was_written_is_read(
        self, rows: list[tuple[str, str, str]], delimiter: str, end: str, bom: bool, cuts: list[int]
    ) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([NAMES, *rows])
        body = text.getvalue().encode("utf-8-sig" if bom else "utf-8")
        expected = [dict(zip(NAMES, row, strict=True)) for row in rows if any(map(str.strip, row))]
        assert [dict(record.values) for record in read(body, cuts=cuts)] == expected

    def test_every_split_gives_the_same(self) -> None:
        body = 'to,name\r\n+64211234567,"An\r\nn ""x"""\r\n\r\n+64211234568,Zoë\n+1,\r+2,b'.encode()
        whole = told(read(body))
        assert whole == [
            (2, {"to": "+64211234567", "name": 'An\r\nn "x"'}),
            (5, {"to": "+64211234568", "name": "Zoë"}),
            (6, {"to": "+1", "name": ""}),
            (7, {"to": "+2", "name": "b"}),
        ]
        for cut in range(len(body)):
            assert told(read(body, cuts=[cut])) == whole
        assert told(read(body, cuts=list(range(len(body))))) == whole

    @pytest.mark.parametrize(
        ("header", "columns"),
        [
            ("a,b", ("a", "b")),
            ("a;b;c,d", ("a", "b", "c,d")),
            ("a\tb", ("a", "b")),
            ('"a,b,c";d', ("a,b,c", "d")),
            ("\ufeff a , b \r\n", ("a", "b")),
            ("alone", ("alone",)),
        ],
    )
    def test_the_header_tells_the_delimiter(self, header: str, columns: tuple[str, ...]) -> None:
        assert read_header(header)[0] == columns

    def test_rows_of_another_length_are_told(self) -> None:
        assert told(read(b"a,b\n1\n1,2,3\n,\n1,2\n")) == [
            (2, "has 1 columns where the header has 2"),
            (3, "has 3 columns where the header has 2"),
            (5, {"a": "1", "b": "2"}),
        ]

    def test_columns_without_a_name_are_left_out(self) -> None:
        assert told(read(b"a,,\n1,2,3\n")) == [(2, {"a": "1"})]

    def test_blank_lines_before_the_header(self) -> None:
        assert told(read(b"\n  \nto\n1\n")) == [(4, {"to": "1"})]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"a\n1\n\xff\n", "line 3 is not UTF-8"),
            ("a\nñ".encode("latin-1"), "line 2 is not UTF-8"),
            ("a\n1\n".encode("utf-16"), "line 1 is not UTF-8"),
            (b"a\n1\n2\0\n", "line 3 holds a NUL byte"),
            (b"a\n" + b"1" * (reader.MAX_LINE_BYTES + 1), "line 2 has more than"),
            (b"a\n" + b"1" * (reader.MAX_LINE_BYTES + 1) + b"\n1\n", "line 2 has more than"),
            (b'a,b\n1,2\n3,"4\n5,6\n', "line 3 begins a record that is no CSV"),
            (b'a,b\n1,2\n3,"4"x\n', "line 3 begins a record that is no CSV"),
            (b'a,"b\n1,2\n', "header line has an open quote"),
            (b'a,b\n1,"' + b"x\n" * 100_000, "line 2 begins a record that is no CSV"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_line(self, body: bytes, said: str) -> None:
        with pytest.raises(InputError, match=said):
            read(body)

    def test_an_endless_line_is_not_read_to_its_end(self) -> None:
        class Endless:
            given = 0

            def read(self, size: int, /) -> bytes:
                self.given += size
                return b"x" * size

        stream = Endless()
        with pytest.raises(InputError, match="more than"):
            list(read_file(stream, CSV))
        assert stream.given < 3 * reader.MAX_LINE_BYTES

    def test_chunks_have_records_of_one_line(self) -> None:
        assert told(read(b'1,"a, ""b"""\n', header="to,n", chunked=True)) == [(1, {"to": "1", "n": 'a, "b"'})]
        for body in (b'1,"a\nb"\n', b'b"\n1,a\n'):
            with pytest.raises(InputError, match="line 1 has an odd number of quotes"):
                read(body, header="to,n", chunked=True)


class TestJsonLines:
    @given(
        rows=st.lists(
            st.dictionaries(VALUES, VALUES | st.integers() | st.none() | st.lists(VALUES, max_size=2)), max_size=5
        ),
        ascii_only=st.booleans(),
        cuts=st.lists(st.integers(1, 300), max_size=20),
    )
    def test_what_was_written_is_read(self, rows: list[dict[str, object]], ascii_only: bool, cuts: list[int]) -> None:
        # JSON escapes line breaks, so U+2028 and the like stay within their line.
        body = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()
        assert [dict(record.values) for record in read(body, JSONL, cuts)] == rows

    def test_lines_that_are_no_objects_are_told(self) -> None:
        deep = "[" * 100_000
        long = '{"to": ' + "1" * 5000 + "}"
        body = f'{{"to": "1"}}\n\n[1]\n"x"\n{{\nNaN\n{{"a": NaN}}\n{deep}\n{long}\n'.encode()
        no_object, no_json = "is no JSON object", "is not JSON"
        assert told(read(body, JSONL)) == [
            (1, {"to": "1"}), (3, no_object), (4, no_object), (5, no_json), (6, no_json), (7, no_json), (8, no_json),
            (9, no_json),
        ]  # fmt: skip


class TestGzip:
    def test_members_one_after_another(self) -> None:
        body = gzip.compress(b"to,n\n1,", mtime=0) + gzip.compress(b"a\n2,b\n", mtime=0)
        for name in ("p.csv.gz", "P.CSV.GZ"):
            assert told(read(body, FileName.of(name), [3, 20, 21])) == [
                (2, {"to": "1", "n": "a"}),
                (3, {"to": "2", "n": "b"}),
            ]

    @pytest.mark.parametrize(
        "body",
        [gzip.compress(b"to\n1\n" * 1000)[:-20], b"to\n1\n", gzip.compress(b"to\n1\n") + b"x"],
        ids=["cut", "plain", "more"],
    )
    def test_what_is_no_gzip_or_not_all_of_it(self, body: bytes) -> None:
        with pytest.raises(InputError, match="no gzip, or not all of it"):
            read(body, FileName.of("p.csv.gz"))

    def test_a_bomb_is_a_long_line(self) -> None:
        with pytest.raises(InputError, match="more than"):
            read(gzip.compress(b"x" * 100_000_000), FileName.of("p.csv.gz"))


def test_lists() -> None:
    assert told(list(read_list(["+1", 2, {"to": "3", 4: "x"}, None, 1.5, True]))) == [
        (1, {"recipient": "+1"}),
        (2, {"recipient": 2}),
        (3, {"to": "3", "4": "x"}),
        (4, "is of type NoneType, not a number or a mapping of columns"),
        (5, "is of type float, not a number or a mapping of columns"),
        (6, "is of type bool, not a number or a mapping of columns"),
    ]


@pytest.mark.parametrize("name", ["people", "people.txt", "people.csv.zip", "people.gz", "csv"])
def test_names_that_tell_no_format(name: str) -> None:
    with pytest.raises(InputError, match="tells no format"):
        FileName.of(name)


def test_an_address_that_may_hold_a_secret_is_not_repeated() -> None:
    with pytest.raises(InputError, match="not read over HTTP") as caught:
        FileName.of("https://u:hunter2@host/people.csv?X-Amz-Signature=hunter2")
    assert "hunter2" not in str(caught.value)
