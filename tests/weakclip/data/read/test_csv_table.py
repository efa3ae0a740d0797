from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.csv_table import read_rows, split_cell, two_cells

if TYPE_CHECKING:
    from pathlib import Path


def rows(path: Path) -> list[tuple[int, list[str]]]:
    return read_rows(path, ("class", "phrases"), what="words", advice="'cat,kitten'")


def test_rows_have_their_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        "Class , PHRASES\r\n\r\n ü b,x\r\n,\r\nc,d,e\r\n".encode("utf-8-sig")
    )
    assert rows(tmp_path / "a.csv") == [(3, [" ü b", "x"]), (5, ["c", "d", "e"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected the header 'class,phrases', got ''; below it, write 'cat,kitten'"),
        (b"class;phrases\na;b\n", "got 'class;phrases'"),
        (b"class,phrases\n \n", "no line below the header; write 'cat,kitten'"),
        (b"class,phrases\n\xff,b\n", "not a CSV in UTF-8"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows(tmp_path / "a.csv")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of words"):
        rows(tmp_path / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ValueError, match="not a CSV"):
        rows(tmp_path / "a.csv")


def test_cells_are_two_and_without_blanks_around_them() -> None:
    assert two_cells([" a b ", " c"], "a.csv:2") == ("a b", "c")
    with pytest.raises(ValueError, match=r"a\.csv:2: expected 2 cells, got 3; separate several"):
        two_cells(["a", "b", "c"], "a.csv:2")


def test_several_things_of_a_cell_keep_their_order() -> None:
    assert split_cell("b; a|c,,b") == ("b", "a", "c", "b")
    assert split_cell(" ;, ") == ()
