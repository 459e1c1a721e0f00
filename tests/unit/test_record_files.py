"""A person hands over a file as some other program wrote it: it is read, or a sentence says what is wrong with it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.errors import StartupError
from postback.record_files.block import Block
from postback.record_files.csv_blocks import _RowReader
from postback.record_files.csv_header import Header
from postback.record_files.json_blocks import read_array
from postback.record_files.line_blocks import LineBlock, read_line_blocks
from postback.record_files.record_file import RecordFile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = [["1", "Müller", "12,50"], ["2", 'says "hi"', "1.000,00"], ["3", "two\nlines; here", ""]]
HEADER = ["id", "name", "total"]

_RANDOM = random.Random(1)


def written(rows: list[list[str]], separator: str = ",", end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows([HEADER, *rows])
    return text.getvalue()


def read(content: bytes, name: str = "log.csv", block_bytes: int = 2**20, **options: Any) -> list[tuple[int, Any]]:
    """Line and record of each record; the sentence for one that can't be read."""
    found: list[tuple[int, Any]] = []
    with closing(RecordFile(io.BytesIO(content), name, **options)) as file:
        for block in file.blocks(list(range(len(file.columns or ()))), block_bytes):
            if isinstance(block.records, list):
                records: Any = iter(block.records)
            else:
                records = iter([list(row.values()) for row in block.records.to_pylist()])
            found += [(line, block.faults.get(at) or next(records)) for at, line in enumerate(block.lines)]
    return found


def cells(content: bytes, **options: Any) -> list[list[str]]:
    return [[cell or "" for cell in row] for _, row in read(content, **options)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("windows-1252"),
    ],
    ids=["utf-8", "utf-8-bom", "utf-16-le-bom", "utf-16-be-bom", "utf-16-le", "utf-16-be", "windows-1252"],
)
def test_separators_line_ends_and_encodings_are_recognized(separator: str, end: str, quoting: Any, encode: Any) -> None:
    rows = [[cell.replace("\n", end) for cell in row] for row in ROWS]
    found = cells(encode(written(rows, separator, end, quoting)))
    assert found == [[cell.replace(end, "\n") if end == "\r" else cell for cell in row] for row in rows]


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, lambda x: gzip.compress(x) + gzip.compress(b"")])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.txt", "-"])
def test_compression_is_told_by_the_bytes_and_not_by_the_name(compress: Any, name: str) -> None:
    assert cells(compress(written(ROWS).encode()), name=name) == ROWS


def test_a_line_that_names_the_separator_is_no_header() -> None:
    assert cells(b"sep=;\r\nid;name;total\r\n1;a,b,c;2\r\n") == [["1", "a,b,c", "2"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # a row with too few or too many cells, the others stay
        ("id,name,total\n1,a\n2,b,3\n", [(2, "The row has 2 columns, and the header has 3."), (3, ["2", "b", "3"])]),
        ("id,name,total\n1,a,b,c\n2,b,3", [(2, "The row has 4 columns, and the header has 3."), (3, ["2", "b", "3"])]),
        # separators at the end, as spreadsheets write them, and rows of separators alone
        ("id,name,total\n1,a,2,,\n,,\n\n2,b,3\n", [(2, ["1", "a", "2"]), (5, ["2", "b", "3"])]),
        ("id,name,total,,\n1,a,2\n2,b,3,,\n", [(2, ["1", "a", "2"]), (3, ["2", "b", "3"])]),
        # blank lines before the header, and lines of spaces
        ("\n\nid,name,total\n  \n1,a,2\n", [(5, ["1", "a", "2"])]),
        # a line break in quotation marks moves the numbers of the lines after it
        ('id,name,total\n1,"a\nb",2\n2,b,3\n', [(2, ["1", "a\nb", "2"]), (4, ["2", "b", "3"])]),
        # a quotation mark that is never closed takes only its own line along
        (
            'id,name,total\n1,"a,2\n2,b,3\n',
            [(2, "The row has a quotation mark that opens a cell and is never closed."), (3, ["2", "b", "3"])],
        ),
        # a quotation mark within a cell is one
        ('id,name,total\n1,5" pipe,2\n', [(2, ["1", '5" pipe', "2"])]),
        ("id,name,total\n", []),
        ("id,name,total", []),
    ],
)
def test_an_odd_row_is_a_fault_of_its_own(text: str, expected: list[tuple[int, Any]]) -> None:
    found = read(text.encode())
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (_, what), (_, wanted) in zip(found, expected, strict=True):
        assert what.startswith(wanted) if isinstance(wanted, str) else what == wanted


def test_bytes_of_another_encoding_are_a_fault_of_their_row() -> None:
    long = "".join(f"{n},é,2\n" for n in range(200_000)).encode()
    found = read(b"id,name,total\n" + long + b"x,caf\xe9,3\ny,b,4\n")
    assert "not UTF-8" in found[-2][1]
    assert "--encoding" in found[-2][1]
    assert found[-1] == (200_003, ["y", "b", "4"])


def test_an_encoding_may_be_named() -> None:
    assert cells("id,name\n1,Łódź\n".encode("iso-8859-2"), encoding="iso-8859-2") == [["1", "Łódź"]]


@pytest.mark.parametrize("block_bytes", [1, 10, 37, 2**20])
def test_blocks_end_between_rows_wherever_the_reading_stops(block_bytes: int) -> None:
    rows = [[str(n), "line\nbreak" * (n % 3), '"' * (n % 4)] for n in range(50)]
    assert cells(written(rows).encode(), block_bytes=block_bytes) == rows
    array = json.dumps([{"id": n, "text": '[{"\\,' * (n % 4)} for n in range(50)], indent=1).encode()
    found = [json.loads(raw) for _, raw in read(array, "log.json", block_bytes)]
    assert found == json.loads(array)


_CELLS = st.text(st.sampled_from("ab1, ;\"'\n\r\t\\é€\0"), max_size=6)


@settings(max_examples=300)
@given(st.lists(st.lists(_CELLS, min_size=3, max_size=3), max_size=6), st.sampled_from(",;"), st.booleans())
def test_whatever_is_written_is_read(rows: list[list[str]], separator: str, quote: bool) -> None:
    text = written(rows, separator, "\r\n", csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
    assert cells(text.encode(), separator=separator, encoding="utf-8") == [row for row in rows if any(row)]


@settings(max_examples=1000)
@given(st.text(st.sampled_from('ab,"\n\r é'), max_size=60), st.sampled_from([16, 33, 2**20]))
def test_reading_at_once_comes_to_the_same_as_reading_row_by_row(text: str, parsed_bytes: int) -> None:
    with patch("postback.record_files.csv_blocks._PARSED_BYTES", parsed_bytes):
        check_both_ways(text)


def check_both_ways(text: str) -> None:
    reader = _RowReader(Header(("a", "b"), ",", 0), (0, 1), "utf-8")
    block = LineBlock(text.encode() + b"\n", 1, text.count("\n") + 1, frozenset(), True)
    at_once = reader.read_at_once(block)
    one_by_one, carried = reader.read_one_by_one(block)
    assert carried == b""
    if at_once is not None:
        assert at_once.records.to_pydict() == one_by_one.records.to_pydict()
        assert list(at_once.lines) == one_by_one.lines
        assert one_by_one.faults == {}


JSON_OBJECTS = [{"a": 1}, {"b": "]},["}, {"c": [{"d": '\\"'}]}]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n".join(map(json.dumps, JSON_OBJECTS)), "log.ndjson"),
        ("\r\n\r\n".join(map(json.dumps, JSON_OBJECTS)), "log.json"),
        ("\n".join(map(json.dumps, JSON_OBJECTS)), "-"),
        ("\n".join(map(json.dumps, JSON_OBJECTS)), "mislabeled.csv"),
        (json.dumps(JSON_OBJECTS), "log.json"),
        (json.dumps(JSON_OBJECTS, indent=2), "log.ndjson"),
        (f"  {json.dumps(JSON_OBJECTS)}\n", "-"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_lines_or_an_array(text: str, name: str, encoding: str) -> None:
    assert [json.loads(raw) for _, raw in read(text.encode(encoding), name)] == JSON_OBJECTS


def test_elements_of_an_array_have_the_lines_at_which_they_begin() -> None:
    found = read(b'[\n  {"a":\n 1},\n\n  nonsense, {"b": 2},\n{"c": 3}\n]\n', "log.json")
    assert found == [(2, b'{"a":\n 1}'), (5, b"nonsense"), (5, b'{"b": 2}'), (6, b'{"c": 3}')]


_JSON = st.recursive(
    st.none() | st.integers(0, 9) | st.text(st.sampled_from('ab"\\[]{}, \n'), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from('a"}'), inner, max_size=2),
    max_leaves=8,
)


@given(st.lists(_JSON, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.integers(1, 40))
def test_an_array_is_the_same_in_whatever_pieces_it_arrives(
    values: list[Any], size: int, indent: int | None, block_bytes: int
) -> None:
    text = json.dumps(values, indent=indent).encode()
    blocks = read_array((text[at : at + size] for at in range(0, len(text), size)), block_bytes, "log.json")
    assert [json.loads(raw) for block in blocks for raw in block.records] == values


@given(st.lists(st.sampled_from(["", "a", "bb", "c" * 30]), max_size=9), st.integers(1, 9), st.integers(1, 20))
def test_lines_are_the_same_in_whatever_pieces_they_arrive(lines: list[str], size: int, block_bytes: int) -> None:
    text = "\n".join(lines).encode()
    with patch("postback.record_files.line_blocks.MAX_RECORD_BYTES", 2):  # of which eight are too long
        blocks = list(read_line_blocks((text[at : at + size] for at in range(0, len(text), size)), block_bytes))
    found = [line for block in blocks for line in block.text.decode().split("\n")[:-1]]
    too_long = {number for block in blocks for number in block.too_long}
    assert [block.first for block in blocks] == [
        1 + sum(earlier.count for earlier in blocks[:at]) for at in range(len(blocks))
    ]
    assert len(found) == len(text.decode().split("\n")) - (not text.decode().split("\n")[-1])
    for number, (line, read_back) in enumerate(zip(lines, found, strict=False), 1):
        assert read_back == ("" if number in too_long else line)
        assert number not in too_long or len(line) > 16


@pytest.mark.parametrize("depth", [100, 100_000])
def test_json_may_be_as_deep_as_it_likes(depth: int) -> None:
    deep = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert read(b"[" + deep + b',{"b":1}]', "log.json") == [(1, deep), (1, b'{"b":1}')]


@pytest.mark.parametrize("name", ["log.ndjson", "log.csv"])
def test_a_line_of_50_megabytes_is_a_fault_of_its_own(name: str) -> None:
    head = b"id,name\n1,a\n" if name == "log.csv" else b'{"id":1}\n'
    tail = b"2,b\n" if name == "log.csv" else b'{"id":2}\n'
    found = read(head + b"x" * 50_000_000 + b"\n" + tail, name)
    assert [line for line, _ in found][-1] == (4 if name == "log.csv" else 3)
    assert "longer than" in found[-2][1]
    assert found[-1][1] in (["2", "b"], b'{"id":2}')


TABLE = pa.table(
    {
        "id": ["1", ""],
        "at": pa.array([1_768_483_800_123_456, None], pa.timestamp("us", "UTC")),
        "amount": pa.array([Decimal("12.50"), None], pa.decimal128(9, 2)),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "n": pa.array([7, None], pa.int32()),
        "raw": pa.array([b"x", b"\xff"], pa.binary()),
    }
)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
@pytest.mark.parametrize("name", ["log.parquet", "-"])
def test_parquet_is_read_as_text(compress: Any, name: str, tmp_path: Path) -> None:
    found = read(compress(parquet(TABLE)), name)
    assert found[0] == (1, ["1", "2026-01-15T13:30:00.123456Z", "12.50", "a", "7", "x"])
    assert found[1] == (2, [None, None, None, "b", None, "\ufffd"])
    (tmp_path / "log").write_bytes(parquet(TABLE))
    with (tmp_path / "log").open("rb") as raw:
        assert len(next(RecordFile(raw, "log").blocks((0,), 1))) == 2


def test_parquet_with_structure_is_read_as_objects() -> None:
    table = pa.table(
        {
            "event_id": ["1"],
            "user_match": [{"hashed_email": "aa", "uids": [{"type": "id5", "value": "v"}]}],
            "value": pa.array([Decimal("12.50")], pa.decimal128(9, 2)),
        }
    )
    ((_, raw),) = read(parquet(table), "log.parquet")
    assert json.loads(raw) == {
        "event_id": "1",
        "user_match": {"hashed_email": "aa", "uids": [{"type": "id5", "value": "v"}]},
        "value": 12.5,
    }


def test_times_in_nanoseconds_are_read_beside_structure_and_within_it() -> None:
    """As pandas writes them. Without the cast, a file of events whose times are so is a traceback."""
    moment = pa.scalar(1_768_483_800_123_456_789, pa.int64())
    stamps = pa.array([moment]).cast(pa.timestamp("ns", "UTC"))
    nested = pa.StructArray.from_arrays([stamps], ["at"])
    several = pa.ListArray.from_arrays([0, 1], stamps)
    times = pa.array([moment.as_py() % 86_400_000_000_000], pa.time64("ns"))
    table = pa.table({"event_time": stamps, "nested": nested, "several": several, "time": times})

    ((_, raw),) = read(parquet(table), "log.parquet")

    written_as = "2026-01-15T13:30:00.123456Z"
    assert json.loads(raw) == {
        "event_time": written_as,
        "nested": {"at": written_as},
        "several": [written_as],
        "time": "13:30:00.123456",
    }


def test_bytes_of_a_fixed_length_are_read_as_other_bytes_are() -> None:
    found = read(parquet(pa.table({"id": pa.array([b"ab", b"\xffb"], pa.binary(2))})), "log.parquet")
    assert [cells for _, cells in found] == [["ab"], ["\ufffdb"]]


BIG_CSV = written([[str(n), _RANDOM.randbytes(20).hex(), "1"] for n in range(30_000)]).encode()


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (_RANDOM.randbytes(5_000), "log.csv", "is not text"),
        (_RANDOM.randbytes(5_000), "-", "Standard input is not text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "log.csv", "is not text"),
        (b"PK\x03\x04" + _RANDOM.randbytes(500), "log.xlsx", "Excel workbook. Unpack it, or save the sheet as CSV"),
        (b"%PDF-1.7 " + _RANDOM.randbytes(500), "log.csv", "is a PDF document"),
        (bz2.compress(_RANDOM.randbytes(500)), "log.csv.bz2", "compressed with bzip2"),
        (gzip.compress(gzip.compress(BIG_CSV)), "log.csv.gz", "compressed twice"),
        (gzip.compress(BIG_CSV)[:-500], "log.csv.gz", "cut off before the end of its compressed data"),
        (zstd.compress(BIG_CSV)[:-500], "log.csv.zst", "cut off before the end of its compressed data"),
        (gzip.compress(BIG_CSV)[:50] + _RANDOM.randbytes(500), "log.csv.gz", "its compressed data is damaged"),
        (gzip.compress(BIG_CSV)[:5], "log.csv.gz", "cut off"),
        (
            b"PAR1" + _RANDOM.randbytes(500) + b"PAR1",
            "log.parquet",
            "can't be read as parquet: it is damaged or cut off",
        ),
        (parquet(TABLE)[:-100], "log.parquet", "damaged or cut off"),
        (b'[{"a":1},{"b":', "log.json", "cut off: its JSON array has no end"),
        (b'[{"a":1}] trailing', "log.json", "text after the end of its JSON array"),
        (b'{\n "events": []\n}', "log.json", "is one JSON value over several lines, not an array"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else str(value),
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence(content: bytes, name: str, told: str) -> None:
    with pytest.raises(StartupError) as error:
        read(content, name)
    assert told in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_cut_file_is_read_up_to_the_cut(compress: Any) -> None:
    content = compress(BIG_CSV)
    file = RecordFile(io.BytesIO(content[: len(content) // 2]), "log.csv")
    blocks: list[Block] = []
    with pytest.raises(StartupError, match=r"can't be read after line \d+"):
        blocks.extend(file.blocks((0, 1, 2), 2**16))
    assert sum(map(len, blocks)) > 1_000


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n", gzip.compress(b"")],
    ids=["nothing", "line breaks", "byte order mark", "spaces", "compressed nothing"],
)
@pytest.mark.parametrize("name", ["log.csv", "log.ndjson", "log.json", "-"])
def test_an_empty_file_has_no_records(content: bytes, name: str) -> None:
    assert read(content, name) == []


def places(content: bytes, *columns: str) -> dict[str, int]:
    return RecordFile(io.BytesIO(content), "log.csv").places_of({f"field {name}": name for name in columns})


def test_a_column_that_is_there_twice_is_told_only_if_it_is_needed() -> None:
    content = b"id,kind,note,kind,note\n1,a,b,c,d\n"
    assert places(content, "id") == {"field id": 0}
    with pytest.raises(StartupError, match=r"has the column 'kind' more than once: columns 2 and 4 of the header"):
        places(content, "kind")


def test_a_column_that_is_missing_is_told_with_those_that_are_there() -> None:
    with pytest.raises(StartupError) as error:
        places(b"Order;Total\n1;2,50\n", "order")
    assert "no column 'order'" in str(error.value)
    assert "Its columns are 'Order', 'Total'" in str(error.value)
    assert "separator ';' (semicolon)" in str(error.value)


def test_data_in_the_place_of_a_header_is_not_repeated() -> None:
    with pytest.raises(StartupError) as error:
        places(b"1001,ada@buyer.example,+4915112345678,2026-01-15T10:00:00Z\n", "id")
    assert "doesn't look like the names of columns" in str(error.value)
    assert "ada" not in str(error.value)
    assert "1511" not in str(error.value)
