from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.report.headline import BEGIN, END, README, RESULTS, headline, with_table
from bench.runs.store import Store


def test_the_readme_says_what_the_records_say() -> None:
    table = headline(Store(RESULTS))
    assert with_table(README.read_text(), table) == README.read_text(), (
        "README.md is stale: run `python -m bench.report.headline`"
    )


def test_only_the_part_between_the_markers_changes() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(text, "| new |") == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    assert with_table(with_table(text, "| new |"), "| new |") == with_table(text, "| new |")


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(BenchError, match="expected the lines"):
        with_table("nothing", "| new |")
