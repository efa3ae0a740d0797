"""`weakclip eval`: tables for people, one JSON line for programs, an exit status that means it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from weakclip.cli.main import main
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.evaluation.counting import Measure
from weakclip.evaluation.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

TOY = Path(__file__).parents[2] / "data" / "interop" / "toy"


def run(*flags: str, truth: Path = TOY / "gt", classes: str = "voc") -> int:
    return main(["eval", "--truth", str(truth), "--classes", classes, *flags])


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.fixture
def expected() -> Mapping[str, Any]:
    numbers: dict[str, Any] = json.loads((TOY / "expected.json").read_text())
    return numbers


def test_maps_are_scored_and_the_last_line_is_json(
    capsys: pytest.CaptureFixture[str], expected: Mapping[str, Any]
) -> None:
    flags = ("--background", "0.3", "--list", str(TOY / "ids.txt"))
    assert run("--maps", str(TOY / "cam_irn"), *flags) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "mIoU 37.49, pixel accuracy 70.70, coverage 100.00" in captured.out
    assert "union 37.49, gt 49.99, eps 7.14, nan –" in captured.out
    content = json.loads(captured.out.splitlines()[-1])
    assert content["images"] == 3
    assert content["miou"] == expected["fixed_0.30"]["miou_union_nonempty"]
    assert content["miou_by_absent"]["nan"] is None
    assert content["per_class"]["bottle"]["recall"] is None
    assert "aeroplane" not in content["per_class"]
    assert content["oracle"] is False
    assert content["against"] is content["comparison"] is None
    assert content["findings"] == []


def test_a_sweep_says_oracle_and_can_be_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], expected: Mapping[str, Any]
) -> None:
    flags = ("--sweep", "--absent", "eps", "--figure", str(tmp_path / "sweep.png"))
    assert run("--maps", str(TOY / "cam_seam"), *flags) == 0
    captured = capsys.readouterr()
    assert "ORACLE: the threshold was chosen on this ground truth" in captured.out
    assert "mIoU 9.54" in captured.out
    assert "best threshold 0.57, first peak 0.5" in captured.out
    content = json.loads(captured.out.splitlines()[-1])
    assert content["oracle"] is True
    assert content["sweep"]["miou"] == pytest.approx(expected["sweep_0.00_0.59"]["curve"])
    with Image.open(tmp_path / "sweep.png") as figure:
        assert figure.size == (1050, 600)


def test_two_results_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--against", str(TOY / "cam_irn"), "--background", "0.3")
    figure = ("--figure", str(tmp_path / "classes.svg"))
    assert run("--masks", str(TOY / "gt"), *flags, *figure) == 0
    captured = capsys.readouterr()
    assert "difference of mIoU +62.51 [" in captured.out
    assert "3 images, paired" in captured.out
    content = json.loads(captured.out.splitlines()[-1])
    assert content["comparison"]["difference"] == pytest.approx(1 - content["against"]["miou"])
    assert content["what"] == "masks"
    assert content["against"]["what"] == "maps, background 0.3"
    assert "<svg" in (tmp_path / "classes.svg").read_text()


def test_all_numbers_are_in_csv_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--csv", str(tmp_path / "a.csv"), "--json", str(tmp_path / "a.json"))
    against = ("--against", str(TOY / "cam_clipes"), "--sweep", "0.2:0.4:0.1")
    assert run("--maps", str(TOY / "cam_irn"), *files, *against) == 0
    content = last_line(capsys)
    assert json.loads((tmp_path / "a.json").read_text()) == content
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["result"], row["class_name"], row["metric"]): row["value"] for row in rows}
    assert len(found) == len(rows)
    assert float(found["result", "", "miou_union"]) == content["miou"]
    assert float(found["result", "cat", "iou"]) == content["per_class"]["cat"]["iou"]
    assert int(found["against", "cat", "tp"]) == content["against"]["per_class"]["cat"]["tp"]
    assert float(found["result", "", "oracle_miou_0.3"]) == content["sweep"]["miou"][1]
    assert float(found["result - against", "", "p_value"]) == content["comparison"]["p_value"]


def test_images_that_are_not_scored_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(TOY / "gt", tmp_path / "masks")
    (tmp_path / "masks" / "2007_000002.png").rename(tmp_path / "masks" / "other.png")
    assert run("--masks", str(tmp_path / "masks")) == 1
    captured = capsys.readouterr()
    assert "2 of 3 images are scored" in captured.out
    assert "prediction-missing" in captured.out
    kinds = [one["kind"] for one in json.loads(captured.out.splitlines()[-1])["findings"]]
    assert kinds == ["prediction-missing", "prediction-surplus"]
    assert run("--masks", str(tmp_path / "masks"), "--missing", "background") == 0


def test_classes_come_from_a_file_beside_the_ground_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("truth", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / folder / "a.png")
    flags = ["eval", "--masks", str(tmp_path / "masks"), "--truth", str(tmp_path / "truth")]
    assert main(flags) == 2
    assert "--classes: no " in capsys.readouterr().err
    (tmp_path / "classes.txt").write_text("background\ncat\n[red]dog\n")
    assert main(flags) == 0
    captured = capsys.readouterr()
    assert "[red]dog" in captured.out
    assert list(json.loads(captured.out.splitlines()[-1])["per_class"])[1:] == ["cat", "[red]dog"]


def test_coco_has_two_numberings(capsys: pytest.CaptureFixture[str]) -> None:
    for classes in ("coco", "coco-original"):
        assert run("--masks", str(TOY / "gt"), classes=classes) == 0
        assert last_line(capsys)["miou"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--masks", "/nowhere"), "/nowhere: no such folder"),
        (("--maps", str(TOY / "cam_irn"), "--background", "otso"), "expected own, THRESHOLD"),
        (("--maps", str(TOY / "cam_irn"), "--sweep", "1"), "expected START:STOP:STEP"),
        (("--maps", str(TOY / "cam_irn")), "no background; choose one of"),
        (("--masks", str(TOY / "gt"), "--background", "0.3"), "puts the background of maps"),
        (("--masks", str(TOY / "gt"), "--list", "/nowhere.txt"), "no such file of images"),
        (("--masks", str(TOY / "gt"), "--csv", "/nowhere/a.csv"), "--csv /nowhere/a.csv: no such"),
        (("--masks", str(TOY / "gt"), "--ignore", "256"), "ignore: expected"),
        (("--masks", str(TOY / "gt"), "--processes", "0"), "processes: expected"),
        (("--masks", str(TOY / "gt"), "--classes", "/nowhere.txt"), "/nowhere.txt"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_was_expected(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert run(*flags) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("weakclip eval: ")
    assert message in captured.err
    assert captured.out == ""


def test_a_diagnosis_says_what_costs_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--background", "0.3", "--list", str(TOY / "ids.txt"), "--diagnose")
    table = tmp_path / "scores.csv"
    assert run("--maps", str(TOY / "cam_irn"), *flags, "--csv", str(table)) == 0
    captured = capsys.readouterr()
    assert "what costs most: 15 of 15 kinds of error" in captured.out
    content = json.loads(captured.out.splitlines()[-1])
    costs = content["diagnosis"]
    assert [cost["gain"] for cost in costs] == sorted((c["gain"] for c in costs), reverse=True)
    assert {"view", "name", "gain", "low", "high", "errors", "pixels", "right"} == set(costs[0])
    kinds = {cost["name"]: cost["errors"] for cost in costs if cost["view"] == "kind"}
    assert sum(value for value in kinds.values() if value) == pytest.approx(1)
    with table.open(newline="") as file:
        rows = {row["metric"]: row["value"] for row in csv.DictReader(file)}
    name = f"diagnosis: {costs[0]['view']}: {costs[0]['name']}: gain"
    assert float(rows[name]) == costs[0]["gain"]
    assert run("--maps", str(TOY / "cam_irn"), *flags[:-1]) == 0
    assert last_line(capsys)["diagnosis"] == []


def test_bands_must_ascend() -> None:
    with pytest.raises(ValueError, match="bands: expected ascending widths"):
        evaluate(
            masks=TOY / "gt", truth=TOY / "gt", classes=VOC_CLASSES, measure=Measure(bands=(5, 3))
        )


def test_an_empty_list_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text("\n")
    assert run("--masks", str(TOY / "gt"), "--list", str(tmp_path / "list.txt")) == 2
    assert "got an empty list" in capsys.readouterr().err


def test_a_figure_without_matplotlib_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("--masks", str(TOY / "gt"), "--figure", str(tmp_path / "a.png")) == 2
    assert "--figure: needs matplotlib" in capsys.readouterr().err
