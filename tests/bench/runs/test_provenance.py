from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import pytest

from bench.runs import provenance
from bench.runs.provenance import checkout_state, code_id, collect, command_line, without_paths
from bench.runs.record import to_json
from tests.bench.records import RECORD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/VOC2012", "PATH"),
        ("--out=/data/x", "--out=PATH"),
        ("~/data", "PATH"),
        (r"C:\data\x", "PATH"),
        ("results/tables", "results/tables"),
        ("0.5 images/s", "0.5 images/s"),
        ("a/b and (/home/me/c)", "a/b and (PATH)"),
        ("File '/home/me/My Pictures/x.png'", "File 'PATH'"),
    ],
)
def test_absolute_paths_are_replaced(text: str, expected: str) -> None:
    assert without_paths(text) == expected


def test_the_command_can_be_repeated_and_tells_no_path() -> None:
    words = ["run", "components", "--data-root", "/home/me/VOC", "--seeds", "0", "1"]
    assert command_line(words) == ("python -m bench run components --data-root PATH --seeds 0 1")


def test_provenance_names_no_person_host_or_path() -> None:
    found = collect(device="cpu", command="python -m bench run x", data={}, weights={})
    text = json.dumps(json.loads(to_json(RECORD))) + repr(found)
    for secret in (str(Path.cwd()), str(Path.home()), platform.node()):
        assert secret not in text
    assert getpass.getuser() not in found.command
    assert found.versions["torch"]
    assert found.started_utc.endswith("Z")


def test_outside_a_checkout_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "_CHECKOUT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout_state() == (None, None)


def test_the_id_of_the_code_changes_with_a_source_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "_CHECKOUT", tmp_path)
    (tmp_path / "bench").mkdir()
    source = tmp_path / "bench" / "x.py"
    source.write_text("a = 1\n")
    fresh = code_id.__wrapped__  # without the cache
    before = fresh()
    assert len(before) == 12
    (tmp_path / "bench" / "notes.txt").write_text("not code")
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "study.py").write_text("STUDY = None\n")
    assert fresh() == before
    source.write_text("a = 2\n")
    assert fresh() != before
