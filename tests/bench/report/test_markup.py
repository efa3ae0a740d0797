"""Text of records in Markdown and LaTeX: no tag and no blank line of theirs has a meaning there."""

from __future__ import annotations

import pytest

from bench.report.markup import Cell, Summary, latex, markdown

BAD = "<script>alert(1)</script>\n\n<img src=x onerror=y> <!-- hidden --> p < 0.05"
TABLE = Summary(title=BAD, headers=("variant", f"{BAD}\nmIoU %"), rows=((Cell("a"), Cell(BAD)),))


def test_notes_titles_and_cells_hold_no_html() -> None:
    page = markdown([TABLE], [BAD], rebuilt_by="x")
    body = page.split("-->", 1)[1]  # after our own first line
    for tag in ("<script", "</script", "<img", "<!--"):
        assert tag not in body
    assert "p < 0.05" in body
    assert body.count("\n- ") == 1
    note = next(line for line in page.splitlines() if line.startswith("- "))
    assert note == (
        "- &lt;script>alert(1)&lt;/script> &lt;img src=x onerror=y> &lt;!-- hidden --> p < 0.05"
    )


@pytest.mark.parametrize("end", ["\n\n", "\r\n \r\n", "\n\t\n", "\u2029", "\v\v"])
def test_a_caption_has_no_blank_line(end: str) -> None:
    table = Summary(title=f"one{end}two", headers=("a", "b"), rows=((Cell(f"x{end}y"),) * 2,))
    text = latex([table], [f"three{end}four"], rebuilt_by="x")
    (caption,) = [line for line in text.splitlines() if "caption" in line]
    assert caption.endswith("one two three four}")
    assert "x y" in text
    assert "" not in [line.strip() for line in text.splitlines()]
