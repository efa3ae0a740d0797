from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.studies.method import Outside, recorded_outside
from bench.studies.preset import VOC
from bench.studies.slots import config_id, plain_config
from bench.studies.study import load_study, with_rows
from bench.tasks.outside import outside_rows
from bench.tasks.splits import open_splits
from tests.bench.fake import quiet
from tests.bench.tasks.test_photo import LISTS, opened, small
from tests.bench.tasks.test_photo import artifacts as artifacts  # the fixtures
from tests.bench.tasks.test_photo import voc as voc
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from pathlib import Path

    from bench.studies.study import Variant


@pytest.fixture
def masks(voc: Path, tmp_path: Path) -> Path:
    """The annotation itself, of the images whose masks are scored."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in (voc / LISTS / "train.txt").read_text().split():
        shutil.copy(voc / "SegmentationClass" / f"{name}.png", folder)
    return folder


def row_of(folder: Path, voc: Path, artifacts: Path, what: str = "masks") -> Variant:
    outside = Outside(what="masks" if what == "masks" else "maps", folder=folder, sha256="")
    splits = open_splits(small(VOC), voc, artifacts)
    (row,) = outside_rows({"mine": outside}, splits, artifacts)
    return row


def test_masks_from_outside_are_scored_as_they_are(voc: Path, artifacts: Path, masks: Path) -> None:
    first = sorted(masks.iterdir())[0]
    mask = read_mask(first)
    write_mask(first, np.where(mask > 0, np.uint8(255), mask))  # undecided: missed
    row = row_of(masks, voc, artifacts)
    bench = opened(voc, artifacts)
    outcome = bench.run(row.config, 0, report=quiet)
    assert tuple(outcome.counts) == ("train-pseudo",)
    counts = outcome.counts["train-pseudo"]
    truth = bench.scoring.truth("pseudo", range(3))
    annotated = [[int((each == label).sum()) for label in range(21)] for each in truth]
    assert counts[..., 2].tolist() == annotated
    assert counts[1:, :, 0].tolist() == annotated[1:]
    assert counts[0, :, 0].tolist() == [annotated[0][0], *[0] * 20]
    assert counts[0, 1:, 1].sum() == 0
    assert outcome.discard is not None
    outcome.discard()


def test_maps_from_outside_are_a_source_of_maps(voc: Path, artifacts: Path, tmp_path: Path) -> None:
    bench = opened(voc, artifacts)
    files = bench.images["train"].files
    (tmp_path / "maps").mkdir()
    for index, name in enumerate(files.names):
        _, height, width = files.image(index).shape
        keys = files.image_labels[index].nonzero()[:, 0].numpy()
        maps = np.zeros((len(keys), height, width), np.float32)
        maps[:, : height // 2] = 1
        content = {"keys": keys, "high_res": maps, "cam": maps[:, ::4, ::4]}
        path = tmp_path / "maps" / f"{name.rpartition('.')[0]}.npy"
        np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
    row = row_of(tmp_path / "maps", voc, artifacts, "maps")
    outcome = bench.run(row.config, 0, report=quiet)
    assert tuple(outcome.counts) == ("train-pseudo", "train-pseudo-crf")
    predicted = outcome.counts["train-pseudo"][..., 1]
    upper = [
        int((each[: each.shape[0] // 2] != IGNORE).sum())
        for each in bench.scoring.truth("pseudo", range(3))
    ]
    assert predicted[:, 1:].sum(axis=1).tolist() == pytest.approx(upper, rel=0.02)


def test_other_files_are_another_configuration(voc: Path, artifacts: Path, masks: Path) -> None:
    def identity() -> str:
        return config_id(plain_config(row_of(masks, voc, artifacts).config))

    before = identity()
    (masks / "unused.png").write_bytes(b"")
    assert identity() == before
    first = sorted(masks.iterdir())[0]
    write_mask(first, np.zeros_like(read_mask(first)))
    assert identity() != before


def test_a_record_gives_its_row_back_and_no_path(voc: Path, artifacts: Path, masks: Path) -> None:
    config = row_of(masks, voc, artifacts).config
    described = json.loads(json.dumps(plain_config(config)))
    assert str(masks.parent) not in json.dumps(described)
    found = recorded_outside(described)
    assert found is not None
    assert plain_config(found.row) == described
    assert recorded_outside(plain_config(load_study("comparison").reference.config)) is None


def test_masks_that_do_not_fit_are_refused_before_anything_runs(
    voc: Path, artifacts: Path, masks: Path
) -> None:
    first, second, third = sorted(masks.iterdir())
    first.unlink()
    write_mask(second, read_mask(second)[1:])
    write_mask(third, np.full_like(read_mask(third), 21))
    with pytest.raises(BenchError) as refused:
        row_of(masks, voc, artifacts)
    said = str(refused.value)
    assert said.startswith(f"--row-masks mine={masks}: of 3 images whose masks are scored, ")
    assert f"1 without a mask, first {first.stem}.jpg" in said
    assert f"1 with one of another size, first {second.stem}.jpg (" in said
    assert f"1 with labels beyond the classes, first {third.stem}.jpg 21 of 0 to 20" in said


@pytest.mark.parametrize("what", ["masks", "maps"])
def test_a_folder_without_files_is_refused(
    voc: Path, artifacts: Path, tmp_path: Path, what: str
) -> None:
    with pytest.raises(BenchError, match=f"--row-{what} mine=.*: no such folder"):
        row_of(tmp_path / "nowhere", voc, artifacts, what)
    with pytest.raises(BenchError, match="no file ends in"):
        row_of(tmp_path, voc, artifacts, what)


def test_a_study_of_one_network_takes_no_row_from_outside(
    voc: Path, artifacts: Path, masks: Path
) -> None:
    row = row_of(masks, voc, artifacts)
    with pytest.raises(BenchError, match="rows from outside go into a study of methods"):
        with_rows(load_study("components"), [row])
    taken = replace(row, name=load_study("comparison").reference.name)
    with pytest.raises(BenchError, match="two variants are called"):
        with_rows(load_study("comparison"), [taken])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row-masks", "mine"], "--row-masks mine: expected NAME=VALUE"),
        (["--row-masks", "a=x", "--row-maps", "a=y"], "a second row 'a'"),
        (["--row-masks", "a=x", "--cite", "b=somebody"], "unknown row of --cite 'b'"),
        (["--row-masks", "a=x", "--storage", "q"], "without --storage"),
    ],
)
def test_flags_that_say_nothing_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "comparison", "--preset", "smoke", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.usefixtures("quick_draw")
def test_a_row_from_outside_stands_marked_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts, out = tmp_path / "artifacts", tmp_path / "results"
    reference = load_study("comparison").reference.name
    places = ["--artifacts", str(artifacts), "--out", str(out)]
    common = ["run", "comparison", "--preset", "smoke", "--seeds", "0", "--workers", "1", *places]
    assert main([*common, "--variants", "clip-es-alone"]) == 0
    (world,) = artifacts.glob("cartoonvoc-*")
    given = ["--row-masks", f"mine={world / 'SegmentationClass'}", "--cite", "mine=A. Nobody 2026"]
    assert main([*common, "--variants", "mine", *given]) == 0
    table = (out / "tables" / "comparison.md").read_text()
    (row,) = [line for line in table.splitlines() if line.startswith("| mine ")][:1]
    assert "| masks, external | – | – | **100.0** | – |" in row
    assert "made elsewhere and scored here: mine: masks, A. Nobody 2026 (sha256 " in table
    assert reference in table
    capsys.readouterr()
    for command in (
        ["report", "comparison", "--check"],
        ["pack"],
        ["report", "comparison", "--check"],
    ):
        assert main([*command, "--out", str(out)]) == 0
    assert main([*common, "--variants", "mine", *given]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["runs"] == 0
