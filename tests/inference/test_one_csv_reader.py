"""Training and `predict` read a CSV by the same strict reader, whatever its compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.inference.records import read_records
from arxiv_hybrid.sources.csv_source import read_texts
from arxiv_hybrid.system.errors import UserError

GOOD = b"id,title,abstract\n1,T,first\n2,U,second\n"


def for_training(path: Path) -> pd.DataFrame:
    return read_texts(path, option="OPTION")


def for_predict(path: Path) -> pd.DataFrame:
    def stop(problem: str) -> None:
        raise UserError(problem)

    return pd.concat(list(read_records(path, 10, key="OPTION", on_bad_row=stop)))


READERS = pytest.mark.parametrize("read", [for_training, for_predict])
DAMAGED = {
    "": "is empty",
    "id,title,abstract\n1,T,cut\0here\n": "line 2: a NUL byte",
    'id,title,abstract\n1,T,"cut\0\nhere"\n': "lines 2 to 3: a NUL byte",
    "id,title,abs\0tract\n1,T,x\n": "line 1: a NUL byte",
    "i\0d\0,\0t\0\n\0": "line 1: a NUL byte; is the file damaged, or UTF-16?",
    'id,title,abstract\n1,T,"open\n2,U,x\n': "lines 2 to 3: unexpected end of data",
    'id,title,abstract\n1,"T,open\n2,"U,x\n3,V,y\n': "lines 2 to 3: ',' expected after",
    "id,title,abstract\n1,T\n": "line 2: 2 fields, the header has 3",
    "id,title,abstract\n1,T,a, b\n": "line 2: 4 fields, the header has 3",
    "id,title,abstract\n\n1,T,a\n2\n": "line 4: 1 field, the header has 3",
    "id,title,abstract\n1,T,one\rtwo\n": "line 2: a carriage return outside quotes",
    "id,title,abstract\n1,T,caf\udce9\n": "line 2: not UTF-8: byte 0xe9",
    "id,title,Title ,abstract\n1,T,U,x\n": "title (column 2) and Title (column 3) have the same",
    "id,abstract,title,abstract\n1,x,T,y\n": "abstract (column 2) and abstract (column 4)",
    '{"title": "T", "abstract": "x"}\n': "if these are JSON lines, give the file the ending .jsonl",
    "title;abstract\nT;x\n": "separate the columns by commas, or by tabs in a .tsv",
    'id,"title"x,abstract\n1,a,b\n': "line 1: ',' expected after '\"'",
}


@READERS
@pytest.mark.parametrize(("content", "message"), DAMAGED.items())
def test_damage_is_the_same_error_in_both(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame], content: str, message: str
) -> None:
    path = tmp_path / "papers.csv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


FOREIGN = {
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16; save": GOOD.decode().encode("utf-16-be").join([b"\xfe\xff", b""]),
    "a Parquet file": b"PAR1\x15\x04\x15PAR1",
    "compressed by bzip2": bz2.compress(GOOD),
    "compressed by zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    "a web page": b"<!DOCTYPE HTML><html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "an SQLite database": b"SQLite format 3\0",
    "a NumPy file": b"\x93NUMPY\x01\0",
    "a PDF": b"%PDF-1.7",
}


@READERS
@pytest.mark.parametrize(("kind", "content"), FOREIGN.items())
def test_files_of_other_formats_are_named(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame], kind: str, content: bytes
) -> None:
    for name, packed in [("papers.csv", content), ("papers.csv.gz", gzip.compress(content))]:
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(UserError, match=rf"is {kind}.*\(OPTION\)"):
            read(tmp_path / name)


def zipped(content: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


PACKED = {
    "plain": GOOD,
    "gzip": gzip.compress(GOOD),
    "two gzip members": gzip.compress(GOOD[:30]) + gzip.compress(GOOD[30:]),
    "xz": lzma.compress(GOOD),
    "zip": zipped(GOOD, "any.csv", "__MACOSX/._any.csv"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "Windows": GOOD.replace(b"\n", b"\r\n"),
    "old Mac": GOOD.replace(b"\n", b"\r"),
    "names": GOOD.replace(b"id,title", b" ID , Title"),
}


@READERS
@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.csv.xz", "p.csv.zip"])
def test_the_first_bytes_say_how_a_file_is_compressed(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame], kind: str, name: str
) -> None:
    (tmp_path / name).write_bytes(PACKED[kind])
    papers = read(tmp_path / name)
    assert papers[["id", "title", "abstract"]].to_numpy().tolist() == [
        ["1", "T", "first"],
        ["2", "U", "second"],
    ]


@READERS
def test_archives_of_several_files_and_workbooks_are_errors(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame]
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(zipped(GOOD, "a.csv", "b.csv"))
    with pytest.raises(UserError, match=r"contains a\.csv, b\.csv; expected one file"):
        read(path)
    path.write_bytes(zipped(b"<x/>", "[Content_Types].xml", "xl/workbook.xml"))
    with pytest.raises(UserError, match="is an Excel or Word file; save it as CSV"):
        read(path)
    for whole in (PACKED["gzip"], lzma.compress(GOOD * 99), zipped(GOOD * 99, "a.csv")):
        path.write_bytes(whole[:-10])
        with pytest.raises(UserError, match="truncated or damaged"):
            read(path)


@READERS
@pytest.mark.parametrize("content", [GOOD, gzip.compress(GOOD)], ids=["plain", "gzip"])
def test_a_pipe_is_read_like_a_file(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame], content: bytes
) -> None:
    pipe = tmp_path / "p.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    assert len(read(pipe)) == 2
    writer.join()


def test_numbers_in_json_lines_keep_their_digits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.jsonl"
    paper = '{{"id": {}, "title": "T", "abstract": "x", "n": {}}}\n'
    path.write_text(paper.format("2511.10000", "9" * 5000) + paper.format("12345", "1e999"))
    assert for_predict(path)["id"].tolist() == ["2511.10000", "12345"]
    path.write_text(paper.format("2511.10000", 1) + paper.format("2511.10", 2))
    assert capsys.readouterr().err == ""
    assert for_predict(path)["id"].tolist() == ["2511.10000", "2511.10"]
    assert "1 id of arXiv lacks zeros, the first 2511.10 in row 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "line 1: not JSON: nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "line 1: not JSON: nested too deeply"),
        ("9" * 5000, "line 1: found a Number"),
        ('{"title": ' + "9" * 5000 + ', "abstract": "x"}', "line 1: title is missing or not a str"),
        ('{"id": [1], "title": "T", "abstract": "x"}', "line 1: id is a list"),
        ('{"title": "T", "abstract": "x\0"}', "line 1: not JSON: Invalid control character"),
    ],
    ids=["lists", "objects", "number", "number as title", "id", "control character"],
)
def test_deep_and_odd_json_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "p.jsonl").write_text(line + "\n")
    with pytest.raises(UserError) as caught:
        for_predict(tmp_path / "p.jsonl")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
