from __future__ import annotations

from pathlib import Path

import pytest

from tests.wild import command_of, section

CASES, OUT = Path("cases"), Path("out")


def test_the_letter_of_a_case_is_that_of_its_command() -> None:
    verbs = {name: command_of(CASES / name, OUT)[0] for name in ("c1", "i2", "m3", "j4", "f5")}
    assert verbs == {"c1": "check", "i2": "check", "m3": "check", "j4": "data", "f5": "crf"}
    with pytest.raises(ValueError, match="expected a name that begins with"):
        command_of(CASES / "x", OUT)


def test_tags_are_those_of_the_case_or_of_its_sub_folders() -> None:
    assert command_of(CASES / "c1", OUT)[2:] == ["--tags", str(CASES / "c1" / "labels.csv")]
    assert command_of(CASES / "i1_folder", OUT)[2:] == []
    assert command_of(CASES / "m1", OUT)[-2] == "--classes"


def test_a_section_has_the_command_its_exit_code_and_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "c1" / "img").mkdir(parents=True)
    text = section(tmp_path / "c1")
    command = "`weakclip check CASES/c1/img --tags CASES/c1/labels.csv`"
    assert text.startswith(f"## c1\n{command}: exit 2\n```\nweakclip check: ")
    assert "CASES/c1/labels.csv: no such file of tags" in text
