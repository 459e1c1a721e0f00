"""Opening a file: what it is compressed with, what it is written in, and in which encoding.

All of it is told by the first bytes, whatever the file is called; the name decides only where these leave a choice.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, cast

from postback.errors import StartupError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

__all__ = ["READ_ERRORS", "FileFormat", "Opened", "open_records"]

FileFormat = Literal["csv", "ndjson", "json", "parquet"]

READ_ERRORS = (EOFError, OSError, zlib.error, ZstdError)
"""What reading a file raises that is cut, damaged, or on a disk that fails."""

_SAMPLE_BYTES = 2**20
_READ_BYTES = 2**18
_HEAD = 2**17
_GUESS = "windows-1252"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_FOREIGN = {
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook. Unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook of an old version. Save the sheet as CSV",
    **{
        b"BZh%d1AY&SY" % level: "is compressed with bzip2. Decompress it, or compress it with gzip or zstd"
        for level in range(1, 10)
    },
    b"\xfd7zXZ": "is compressed with xz. Decompress it, or compress it with gzip or zstd",
    b"%PDF": "is a PDF document. Export CSV, NDJSON, JSON or Parquet",
    b"SQLite format 3": "is an SQLite database. Export CSV, NDJSON, JSON or Parquet",
}
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF8, "utf-8"))
_SHORT_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROLS = bytes([*range(9), *range(14, 27), *range(28, 32)])
_SUFFIXES: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
}
_ARRAY = re.compile(rb"\s*\[\s*(?:\{|\]\s*\Z)")
_OBJECT = re.compile(rb"\s*\{")


@dataclass(slots=True)
class Opened:
    """An open file.

    Attributes:
        name: What messages call it.
        stream: Its bytes, decompressed, from the first one on.
        format: What it is written in.
        encoding: The encoding of its text; ``utf-8`` is only assumed from its first MiB.
        empty: Whether there is nothing in it.
        bare_returns: Whether its lines end in a carriage return alone.
        head: Its first lines, as text.
        compressed: Whether it is compressed.
    """

    name: str
    stream: IO[bytes]
    format: FileFormat
    encoding: str
    empty: bool
    bare_returns: bool
    head: list[str]
    compressed: bool

    def chunks(self) -> Iterator[bytes]:
        """Its text in UTF-8, some 256 KiB at a time. Bytes that its encoding doesn't have become invalid UTF-8."""
        if self.encoding == "utf-8" and not self.bare_returns:
            first = True
            while chunk := self.stream.read1(_READ_BYTES):  # type: ignore[attr-defined] # buffered
                yield chunk.removeprefix(codecs.BOM_UTF8) if first else chunk
                first = False
            return
        # A surrogate stands for a byte that the encoding doesn't have; UTF-16 and UTF-32 can only be replaced.
        errors = "replace" if self.encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        first = True
        while True:
            chunk = self.stream.read1(_READ_BYTES)  # type: ignore[attr-defined]
            text = decoder.decode(chunk, final=not chunk)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            if self.bare_returns:
                text = text.replace("\r", "\n")
            if text:
                yield text.encode("utf-8", "surrogatepass")
            if not chunk:
                return


def open_records(raw: IO[bytes], name: str, format: FileFormat | None, encoding: str | None) -> Opened:
    """Find out what a file is.

    Args:
        raw: Its bytes, at the beginning. Need not be seekable.
        name: Its name, or ``-``.
        format: What it is written in, if the caller says so.
        encoding: Its encoding, likewise.

    Raises:
        StartupError: It is none of the formats, or can't be read.
    """
    label = "Standard input" if name == "-" else name
    try:
        stream, sample, compressed = _decompressed(raw)
    except READ_ERRORS as error:
        raise StartupError(f"{label} can't be read: {describe_read_error(error)}.") from error
    for magic, what in _FOREIGN.items():
        if sample.startswith(magic):
            raise StartupError(f"{label} {what}.")
    if sample.startswith((_GZIP, _ZSTD)):
        raise StartupError(f"{label} is compressed twice. Compress it once.")
    named = _named_format(name)
    if sample.startswith(b"PAR1") or (format or named) == "parquet":
        return Opened(label, stream, "parquet", "", not sample, False, [], compressed)
    chosen = _checked_encoding(encoding) if encoding else _encoding(sample, label)
    text = sample.decode(chosen, "replace").removeprefix("\ufeff")
    format = format or _format(named, text[:_HEAD].encode())
    if format != "csv" and chosen == _GUESS and not encoding:
        chosen = "utf-8"  # JSON is always Unicode: what is not is damaged
    bare_returns = "\r" in text and "\n" not in text
    head = [f"{line}\n" for line in text[:_HEAD].replace(*("\r\n" if bare_returns else "\n\n")).split("\n")]
    return Opened(
        name=label,
        stream=stream,
        format=format,
        encoding=chosen,
        empty=not text.strip(),
        bare_returns=bare_returns,
        head=head,
        compressed=compressed,
    )


def describe_read_error(error: BaseException) -> str:
    """Why a file can't be read, without a full stop."""
    if isinstance(error, EOFError):
        return "it is cut off before the end of its compressed data"
    if isinstance(error, gzip.BadGzipFile | zlib.error | ZstdError):
        return "its compressed data is damaged"
    return getattr(error, "strerror", None) or "the disk returned an error"


def _decompressed(raw: IO[bytes]) -> tuple[IO[bytes], bytes, bool]:
    """The bytes, the first of them, and whether they were compressed."""
    head = raw.read(8)
    stream = start = cast(IO[bytes], io.BufferedReader(_Rest(head, raw), _READ_BYTES))
    if head.startswith(_GZIP):
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    elif head.startswith(_ZSTD):
        stream = cast(IO[bytes], ZstdFile(stream))
    sample, failure = _first_bytes(stream)
    if failure and not sample:
        raise failure
    return cast(IO[bytes], _Rest(sample, stream, failure)), sample, stream is not start


def _first_bytes(stream: IO[bytes]) -> tuple[bytes, BaseException | None]:
    """As many as a sample has, or as can be read."""
    parts: list[bytes] = []
    size = 0
    try:
        while size < _SAMPLE_BYTES and (part := stream.read1(_READ_BYTES)):  # type: ignore[attr-defined]
            parts.append(part)
            size += len(part)
    except READ_ERRORS as error:
        return b"".join(parts), error
    return b"".join(parts), None


class _Rest(io.RawIOBase):
    """A stream whose first bytes have been read already; what reading it raised then is raised where they end."""

    def __init__(self, head: bytes, rest: IO[bytes], failure: BaseException | None = None) -> None:
        self._head = memoryview(head)
        self._rest = rest
        self._failure = failure

    def readable(self) -> bool:
        return True

    def read1(self, size: int) -> bytes:
        """Some bytes, at most ``size``; none at the end."""
        if self._head:
            part = bytes(self._head[:size])
            self._head = self._head[size:]
            return part
        if self._failure:
            raise self._failure
        found: bytes = self._rest.read1(size) if hasattr(self._rest, "read1") else self._rest.read(size)
        return found

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.read1(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def _checked_encoding(name: str) -> str:
    try:
        b"".decode(name)
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise StartupError(
            "--encoding names no text encoding. Use utf-8, utf-16, windows-1252 or another one."
        ) from None
    return {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(known, known)


def _encoding(sample: bytes, label: str) -> str:
    for mark, encoding in (*_MARKS, *_SHORT_MARKS):
        if sample.startswith(mark):
            return encoding
    nulls = sample.count(0)
    if nulls * 4 > len(sample):  # text of European languages in UTF-16 has a NUL in nearly every second byte
        odd = sample[1::2].count(0)
        if nulls - odd < odd // 8 or odd < (nulls - odd) // 8:
            return "utf-16-le" if odd > nulls - odd else "utf-16-be"
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls * 20 > len(sample) and controls > 4:
        raise StartupError(f"{label} is not text, and not Parquet. Export CSV, NDJSON, JSON or Parquet.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the sample may end within a character
    except UnicodeDecodeError:
        return _GUESS if _mostly_text(sample) else "utf-8"
    return "utf-8"


def _mostly_text(sample: bytes) -> bool:
    """Whether bytes that aren't UTF-8 look like another encoding, and not like one damaged character."""
    wrong = len(re.findall("\ufffd", sample.decode("utf-8", "replace")))
    right = len(re.findall(rb"[\xc3-\xf4][\x80-\xbf]+", sample))
    return wrong > right


def _named_format(name: str) -> FileFormat | None:
    """What the name of a file says that it is written in."""
    suffixes = re.findall(r"\.[a-z]+", name.lower())
    return _SUFFIXES.get(next((s for s in reversed(suffixes) if s not in (".gz", ".gzip", ".zst", ".zstd")), ""))


def _format(named: FileFormat | None, text: bytes) -> FileFormat:
    """What text is written in: JSON shows by its first characters, CSV by the name or by not being JSON."""
    if _ARRAY.match(text):
        return "json"
    if _OBJECT.match(text):
        return "ndjson" if named != "json" or _is_lines(text) else "json"
    if named in ("ndjson", "json"):
        return "ndjson"
    return "csv"


def _is_lines(text: bytes) -> bool:
    """Whether each line of what begins with an object is an object: the first line ends in a brace."""
    return text.lstrip().partition(b"\n")[0].rstrip().endswith(b"}")
