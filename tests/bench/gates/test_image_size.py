from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from bench.gates.image_size import configs_at, main, markdown, preset_at

if TYPE_CHECKING:
    from pathlib import Path


def test_the_two_networks_differ_in_the_pyramid_alone_and_keep_stride_four() -> None:
    full, coarse = configs_at(192)
    different = [f.name for f in fields(full) if getattr(full, f.name) != getattr(coarse, f.name)]
    assert different == ["adapter"]
    assert getattr(full.supervision, "grid", None) == 48
    assert preset_at(192).framing.size == preset_at(192).world.size == 192


def test_the_command_trains_and_writes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "smoke", "--sides", "64", "--seeds", "0", "1"]
    assert main([*words, "--artifacts", str(tmp_path / "a"), "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["sides"] == [64]
    record = json.loads((tmp_path / "image_size.json").read_text())
    (line,) = record["lines"]
    assert line["gain_low"] <= line["gain"] <= line["gain_high"]
    assert line["gain"] == pytest.approx(line["full_miou"] - line["coarse_miou"])
    assert (tmp_path / "image_size.md").read_text() == markdown(record)


def test_a_side_without_a_coarse_level_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--sides", "100"])
