from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.csv_table import Column, Table, read_pairs, read_table, split_cell

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    Column(name="class", others=frozenset({"name"})),
    Column(name="phrases", others=frozenset({"phrase"})),
)


def table(path: Path, content: str | bytes) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, COLUMNS, what="words", advice="'cat,kitten'")


def pairs(path: Path, content: str | bytes) -> list[tuple[str, ...]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_pairs(path, COLUMNS, what="words", advice="'cat,kitten'")
    return [(where.rsplit(":", 1)[1], *cells) for where, *cells in found]


def test_rows_have_the_number_of_the_line_on_which_they_begin(tmp_path: Path) -> None:
    text = 'Class , PHRASES\r\n\r\n ü b,x\r\n,\r\n"two\nlines",e\r\nc,d\r\n'
    expected = [("3", "ü b", "x"), ("5", "two\nlines", "e"), ("7", "c", "d")]
    assert pairs(tmp_path / "a.csv", text.encode("utf-8-sig")) == expected


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encoding_and_delimiter_are_seen(
    tmp_path: Path, encoding: str, delimiter: str, line_end: str
) -> None:
    lines = ("class,phrases", "élan,elk", "dog,hound", "")
    text = line_end.join(lines).replace(",", delimiter)
    expected = [("2", "élan", "elk"), ("3", "dog", "hound")]
    assert pairs(tmp_path / "a.csv", text.encode(encoding)) == expected


def test_what_is_unusual_is_put_into_words(tmp_path: Path) -> None:
    assert table(tmp_path / "a.csv", "class,phrases\na,b\n").form() == []
    content = "class;phrases\na;b\n".encode("utf-16")
    assert table(tmp_path / "a.csv", content).form() == ["as UTF-16", "with semicolons"]
    content = "class\tphrases\né\tb\n".encode("cp1252")
    assert table(tmp_path / "a.csv", content).form() == ["as Windows-1252", "with tabs"]


def test_excels_line_for_the_delimiter_is_obeyed(tmp_path: Path) -> None:
    assert pairs(tmp_path / "a.csv", "sep=;\nclass;phrases\na;b,c\n") == [("3", "a", "b,c")]


def test_columns_may_be_called_otherwise_and_have_empty_ones_behind(tmp_path: Path) -> None:
    assert pairs(tmp_path / "a.csv", "phrase,NAME,,\nhound,dog,,\n") == [("2", "dog", "hound")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected the header 'class,phrases', got ''; below it, write 'cat,kitten'"),
        (b"class\nphrases\n", "got 'class'"),
        (b"class,other\na,b\n", "got 'class,other'"),
        (b"class,phrases\n \n", "no line below the header; write 'cat,kitten'"),
        (b"class,phrases\n\x81,b\n", r"not text \(utf-8 or cp1252\)"),
        (b"PK\x03\x04class,phrases\n", "is an Excel workbook or another archive"),
        (b"class,phrases\na,b,c\n", r"a\.csv:2: expected 2 cells, got 3; .* with ';', .* a comma"),
        (b"class;phrases\na;b;c\n", r"a\.csv:2: expected 2 cells, got 3; .* with '\|', .* ';'"),
        (b'class,phrases\na,b\nc,"d\ne,f\n', r"a\.csv:3: a quote is opened on line 3 and never"),
        (b'class,phrases\na,"b\nc,"d\n', r"a\.csv:2: a quote is opened on line 2 and closed on l"),
        (b'class,phrases\na,"b"c\n', r"a\.csv:2: a quote is opened on line 2 before the cell ends"),
        (b'class,phrases\na,"' + b"b" * 200_000, r"a\.csv:2: a quote is opened on line 2 and nev"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pairs(tmp_path / "a.csv", content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of words"):
        read_pairs(tmp_path / "a.csv", COLUMNS, what="words", advice="")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ValueError, match="not a file of text"):
        read_pairs(tmp_path / "a.csv", COLUMNS, what="words", advice="")


def test_several_things_of_a_cell_keep_their_order() -> None:
    assert split_cell("b; a|c,,b") == ("b", "a", "c", "b")
    assert split_cell(" ;, ") == ()
