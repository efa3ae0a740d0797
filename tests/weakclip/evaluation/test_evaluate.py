"""Scores equal those of the field's own arithmetic; nothing is left out silently."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.weakclip.evaluation.conftest import CLASSES
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.ids import read_ids
from weakclip.data.formats.masks import write_mask
from weakclip.data.formats.rle import write_coco_rle
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.evaluation.counting import Measure, Undecided
from weakclip.evaluation.evaluate import evaluate
from weakclip.evaluation.rules import Fixed, Own, Power
from weakclip.evaluation.sweep import Sweep
from weakclip.stages.seeds import FixedBand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.weakclip.evaluation.conftest import Masks
    from weakclip.evaluation.result import Evaluation
    from weakclip.evaluation.rules import MapRule

    Save = Callable[[str, Masks], Path]


def confusion(predicted: Masks, truth: Masks, classes: int) -> NDArray[np.float64]:
    """Pixels by truth and prediction, one at a time; the last column holds predicted 255."""
    table = np.zeros((classes, classes + 1))
    for name, mask in truth.items():
        for annotated, found in zip(mask.ravel(), predicted[name].ravel(), strict=True):
            if annotated != 255:
                table[int(annotated), min(int(found), classes)] += 1
    return table


def irn(table: NDArray[np.float64]) -> dict[str, Any]:
    """Scores by the lines of irn's evaluation (chainercv's confusion, nanmean)."""
    with np.errstate(all="ignore"):
        rows, columns, diagonal = table.sum(axis=1), table.sum(axis=0), np.diag(table)
        union = rows + columns - diagonal
        fp, fn, iou = 1.0 - rows / union, 1.0 - columns / union, diagonal / union
    return {"miou": np.nanmean(iou), "iou": iou, "fp": fp, "fn": fn}


def seam(table: NDArray[np.float64]) -> dict[str, Any]:
    """Scores by the lines of SEAM's evaluation; a predicted 255 is in the truth only."""
    classes = len(table)
    hits, truth, found = [], [], []
    for one in range(classes):
        hits.append(table[one, one])
        truth.append(table[one].sum())
        found.append(table[:, one].sum())
    iou, fp, fn = [], [], []
    for one in range(classes):
        union = truth[one] + found[one] - hits[one] + 1e-10
        iou.append(hits[one] / union)
        fp.append((found[one] - hits[one]) / union)
        fn.append((truth[one] - hits[one]) / union)
    return {"miou": np.mean(np.array(iou)), "iou": np.array(iou), "fp": fp, "fn": fn}


def on_toy(
    toy: Path, rule: MapRule | Sweep, *, folder: str = "cam_irn", measure: Measure | None = None
) -> Evaluation:
    return evaluate(
        maps=toy / folder, truth=toy / "gt", classes=VOC_CLASSES, rule=rule,
        names=read_ids(toy / "ids.txt"), measure=measure,
    )  # fmt: skip


def check(evaluation: Evaluation, expected: dict[str, Any]) -> None:
    """All numbers of `expected.json` that one result has."""
    scores = evaluation.result.scores
    hits, found, truth = scores.counts.T.tolist()
    assert (hits, found, truth) == (expected["TP"], expected["P"], expected["T"])
    numbers = {
        "miou_union_nonempty": scores.miou_by_absent["union"],
        "miou_gt_present": scores.miou_by_absent["gt"],
        "miou_eps": scores.miou_by_absent["eps"],
        "pixel_accuracy": scores.overall["pixel_accuracy"],
        "FP_all_nan": scores.mean("fp_rate"),
        "FN_all_nan": scores.mean("fn_rate"),
        "mean_precision": scores.mean("precision"),
        "mean_recall": scores.mean("recall"),
        "m_FP_fg": scores.mean("over_activation", foreground=True),
        "m_FN_fg": scores.mean("under_activation", foreground=True),
    }
    for name, value in numbers.items():
        assert value == pytest.approx(expected[name], rel=1e-15, abs=0), name
    ratios = expected["confusion_ratio_fg"].items()
    assert all(scores.per_class["over_activation"][int(label)] == ratio for label, ratio in ratios)


@pytest.fixture
def expected(toy: Path) -> dict[str, Any]:
    """What the unmodified scripts of SEAM, MCTformer and CLIP-ES print of the toy set."""
    numbers: dict[str, Any] = json.loads((toy / "expected.json").read_text())
    return numbers


@pytest.mark.parametrize("folder", ["cam_irn", "cam_seam", "cam_clipes"])
def test_maps_with_a_fixed_background_score_as_published_scripts_do(
    toy: Path, expected: dict[str, Any], folder: str
) -> None:
    check(on_toy(toy, Fixed(0.3), folder=folder), expected["fixed_0.30"])


def test_maps_with_a_power_background_score_as_published_scripts_do(
    toy: Path, expected: dict[str, Any]
) -> None:
    check(on_toy(toy, Power(2)), expected["alpha_2"])


@pytest.mark.parametrize(
    ("undecided", "name"),
    [
        ("miss", "count_255_as_miss"),
        ("background", "255_to_background"),
        ("drop", "255_dropped"),
    ],
)
def test_undecided_pixels_count_as_each_project_counts_them(
    toy: Path, expected: dict[str, Any], undecided: Undecided, name: str
) -> None:
    seeds = expected["seed_0.50_0.20"]
    evaluation = on_toy(toy, FixedBand(low=0.2, high=0.5), measure=Measure(undecided=undecided))
    check(evaluation, seeds[name])
    pixels = sum(expected["fixed_0.30"]["T"])
    coverage = 1 - seeds["pixels_255_in_valid_gt"] / pixels
    assert evaluation.result.scores.overall["coverage"] == pytest.approx(coverage, rel=1e-15)


def test_a_sweep_finds_the_published_thresholds_and_says_that_it_is_an_oracle(
    toy: Path, expected: dict[str, Any]
) -> None:
    swept = expected["sweep_0.00_0.59"]
    evaluation = evaluate(
        maps=toy / "cam_seam", truth=toy / "gt", classes=VOC_CLASSES, rule=Sweep(), absent="eps"
    )
    result = evaluation.result
    assert result.oracle
    assert result.sweep is not None
    assert result.sweep.miou == pytest.approx(swept["curve"], rel=1e-14)
    assert result.sweep.thresholds[result.sweep.best] == swept["best_t"]
    assert result.sweep.thresholds[result.sweep.first_peak] == swept["early_stop_t"]
    assert evaluation.miou == pytest.approx(swept["best_miou_eps"], rel=1e-14)
    assert result.what == "maps, background 0.57"
    assert not on_toy(toy, Fixed(0.57)).result.oracle


def test_masks_score_as_irn_does_to_the_last_digit(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    """irn makes undecided pixels background and averages the classes that occur."""
    evaluation = evaluate(
        masks=save("masks", predicted), truth=save("truth", truth), classes=CLASSES,
        measure=Measure(undecided="background"),
    )  # fmt: skip
    zeroed = {name: np.where(mask == 255, 0, mask) for name, mask in predicted.items()}
    theirs = irn(confusion(zeroed, truth, 5)[:, :5])
    scores = evaluation.result.scores
    assert evaluation.miou == theirs["miou"]  # every bit
    assert np.array_equal(scores.per_class["iou"], theirs["iou"], equal_nan=True)
    assert math.isnan(scores.per_class["iou"][4])
    assert np.allclose(scores.per_class["fp_rate"], theirs["fp"], rtol=1e-14, equal_nan=True)
    assert np.allclose(scores.per_class["fn_rate"], theirs["fn"], rtol=1e-14, equal_nan=True)


def test_masks_score_as_seam_does_to_the_last_digit(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    """SEAM keeps the truth of undecided pixels and counts an absent class as 0."""
    evaluation = evaluate(
        masks=save("masks", predicted), truth=save("truth", truth), classes=CLASSES, absent="eps"
    )
    theirs = seam(confusion(predicted, truth, 5))
    scores = evaluation.result.scores
    assert evaluation.miou == theirs["miou"]
    assert np.allclose(np.nan_to_num(scores.per_class["iou"]), theirs["iou"], rtol=1e-12)
    assert np.allclose(np.nan_to_num(scores.per_class["fp_rate"]), theirs["fp"], rtol=1e-12)
    assert np.allclose(np.nan_to_num(scores.per_class["fn_rate"]), theirs["fn"], rtol=1e-12)


def test_a_coco_json_scores_as_its_masks(
    tmp_path: Path, truth: Masks, predicted: Masks, save: Save
) -> None:
    folder = save("truth", truth)
    decided = {name: np.where(mask == 255, 0, mask) for name, mask in predicted.items()}
    write_coco_rle(
        tmp_path / "masks.json",
        [(f"{name}.jpg", mask.astype(np.uint8)) for name, mask in decided.items()],
        CLASSES,
    )
    by_json = evaluate(masks=tmp_path / "masks.json", truth=folder, classes=CLASSES)
    by_files = evaluate(
        masks=save("masks", predicted), truth=folder, classes=CLASSES,
        measure=Measure(undecided="background"),
    )  # fmt: skip
    assert np.array_equal(by_json.result.scores.counts, by_files.result.scores.counts)


def test_maps_with_their_own_background_need_no_rule(toy: Path, tmp_path: Path) -> None:
    shape = np.asarray(Image.open(toy / "gt" / "2007_000002.png")).shape
    half = np.zeros(shape, np.float32)
    half[:, :15] = 1
    folder = tmp_path / "maps"
    folder.mkdir()
    np.save(folder / "2007_000002.npy", {0: 1 - half, 15: half})  # type: ignore[arg-type]
    evaluation = evaluate(maps=folder, truth=toy / "gt", classes=VOC_CLASSES, names=["2007_000002"])
    assert evaluation.result.what == "maps, background own"
    assert (
        evaluation.result.scores.counts[:, 1].sum() == evaluation.result.scores.counts[:, 2].sum()
    )
    with pytest.raises(ValueError, match=r"no background; choose one of"):
        on_toy(toy, Own())


def test_boundary_iou_is_that_of_the_pixels_near_a_contour(save: Save) -> None:
    """A square of 20 of 40 x 40, and the same moved by one; the region is one pixel deep."""
    squares = []
    for start in (10, 11):
        mask = np.zeros((40, 40), np.uint8)
        mask[start : start + 20, start : start + 20] = 1
        squares.append({"a": mask})
    evaluation = evaluate(
        masks=save("masks", squares[0]), truth=save("truth", squares[1]), classes=("cat",),
        measure=Measure(boundary=(0.02, 0.2)),
    )  # fmt: skip
    per_class = evaluation.result.scores.per_class
    ring = 20 * 4 - 4
    assert per_class["boundary_iou_0.02"][1] == 2 / (2 * ring - 2)  # two crossings
    assert per_class["boundary_iou_0.2"][1] > per_class["boundary_iou_0.02"][1]


def test_sizes_are_those_of_a_class_in_an_image(save: Save) -> None:
    truth = {name: np.zeros((100, 100), np.uint8) for name in "ab"}
    truth["a"][:10, :10] = 1  # 100 pixels: small
    truth["b"][:60] = 1  # 6000 pixels: medium
    predicted = {name: mask.copy() for name, mask in truth.items()}
    predicted["a"][:10, :5] = 0
    evaluation = evaluate(
        masks=save("masks", predicted), truth=save("truth", truth), classes=("cat",)
    )
    by_size = evaluation.result.scores.by_size
    assert by_size["small"] == (0.5, 1)
    assert by_size["medium"] == (1.0, 1)
    assert math.isnan(by_size["large"][0])
    assert by_size["large"][1] == 0


def test_two_folders_are_compared_on_the_same_images(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    good = {name: np.where(mask == 255, 0, mask).astype(np.uint8) for name, mask in truth.items()}
    del good["003"]
    place = save("truth", truth)
    evaluation = evaluate(
        masks=save("good", good), against=save("bad", predicted), truth=place, classes=CLASSES
    )
    assert evaluation.images == 11
    assert evaluation.against is not None
    assert evaluation.comparison is not None
    difference = evaluation.miou - evaluation.against.scores.miou_by_absent["union"]
    assert evaluation.comparison.difference == pytest.approx(difference, rel=1e-14)
    assert evaluation.comparison.low < difference < evaluation.comparison.high
    assert evaluation.comparison.p_value < 0.001
    alone = evaluate(masks=save("bad", predicted), truth=place, classes=CLASSES)
    assert alone.miou != evaluation.against.scores.miou_by_absent["union"]  # of 12 images


def test_maps_are_compared_with_masks(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "gt", tmp_path / "masks")
    evaluation = evaluate(
        maps=toy / "cam_irn", against=tmp_path / "masks", truth=toy / "gt", classes=VOC_CLASSES,
        rule=Fixed(0.3),
    )  # fmt: skip
    assert evaluation.against is not None
    assert evaluation.against.what == "masks"
    assert evaluation.against.scores.miou_by_absent["union"] == 1
    assert evaluation.comparison is not None
    assert evaluation.comparison.difference < 0


def test_processes_count_what_one_counts(toy: Path) -> None:
    alone = on_toy(toy, Sweep(0.2, 0.4, 0.1))
    together = evaluate(
        maps=toy / "cam_irn", truth=toy / "gt", classes=VOC_CLASSES, rule=Sweep(0.2, 0.4, 0.1),
        names=read_ids(toy / "ids.txt"), processes=2,
    )  # fmt: skip
    assert np.array_equal(alone.result.scores.counts, together.result.scores.counts)
    assert alone.truth_sha256 == together.truth_sha256


def kinds(evaluation: Evaluation) -> dict[str, tuple[str, ...]]:
    return {finding.kind.name: finding.affected for finding in evaluation.findings}


def test_what_cannot_be_scored_is_found_with_its_reason(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    place, masks = save("truth", truth), save("masks", predicted)
    write_mask(masks / "000.png", predicted["000"][:-1])
    write_mask(masks / "001.png", np.full_like(predicted["001"], 5))
    Image.new("RGB", (30, 21)).save(masks / "002.png")
    (masks / "003.png").rename(masks / "033.png")
    write_mask(place / "004.png", np.full_like(truth["004"], 9))
    Image.new("RGB", (30, 21)).save(place / "005.png")
    names = [*truth, "unknown"]
    evaluation = evaluate(masks=masks, truth=place, classes=CLASSES, names=names)
    found = kinds(evaluation)
    assert found["prediction-size"] == ("000: prediction (19, 31), ground truth (20, 31)",)
    assert found["prediction-labels"] == ("001: label 5 of 0 to 4",)
    assert "002.png: expected label indices" in found["prediction-unreadable"][0]
    assert found["prediction-missing"] == ("003",)
    assert found["prediction-surplus"] == ("033",)
    assert found["truth-labels"] == ("004: label 9 of 0 to 4",)
    assert "005.png: expected label indices" in found["truth-unreadable"][0]
    assert found["truth-missing"] == ("unknown",)
    assert (evaluation.images, evaluation.listed) == (6, 13)
    rest = {name: predicted[name] for name in list(truth)[6:]}
    alone = evaluate(masks=save("rest", rest), truth=place, classes=CLASSES, names=list(rest))
    assert np.array_equal(alone.result.scores.counts, evaluation.result.scores.counts)


def test_bad_maps_are_found_with_their_reason(toy: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    shutil.copytree(toy / "cam_seam", maps)
    shutil.copy(toy.parent / "refuse_global.npy", maps / "2007_000002.npy")
    shutil.copy(maps / "2007_000001.npy", maps / "2007_000003.npy")
    evaluation = evaluate(maps=maps, truth=toy / "gt", classes=VOC_CLASSES, rule=Fixed(0.3))
    (reasons,) = kinds(evaluation).values()
    assert "names posix.getcwd" in reasons[0]
    assert "maps (24, 32), image (33, 29)" in reasons[1]
    bad = np.full((33, 29), np.nan, np.float32)
    np.save(maps / "2007_000003.npy", {5: bad})  # type: ignore[arg-type]
    evaluation = evaluate(maps=maps, truth=toy / "gt", classes=VOC_CLASSES, rule=Sweep())
    assert "NaN" in kinds(evaluation)["prediction-unreadable"][1]
    assert evaluation.images == 1


def test_a_missing_prediction_can_count_as_background(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    del predicted["003"]
    evaluation = evaluate(
        masks=save("masks", predicted), truth=save("truth", truth), classes=CLASSES,
        measure=Measure(missing="background"),
    )  # fmt: skip
    assert evaluation.images == 12
    assert kinds(evaluation) == {"prediction-as-background": ("003",)}
    predicted["003"] = np.zeros_like(truth["003"])
    full = evaluate(masks=save("full", predicted), truth=save("truth", truth), classes=CLASSES)
    assert np.array_equal(full.result.scores.counts, evaluation.result.scores.counts)


def test_another_value_can_be_void(truth: Masks, predicted: Masks, save: Save) -> None:
    moved = [
        {name: np.where(mask == 255, 4, mask).astype(np.uint8) for name, mask in masks.items()}
        for masks in (predicted, truth)
    ]
    other = evaluate(
        masks=save("masks 4", moved[0]), truth=save("truth 4", moved[1]), classes=CLASSES[:3],
        measure=Measure(ignore=4),
    )  # fmt: skip
    usual = evaluate(
        masks=save("masks", predicted), truth=save("truth", truth), classes=CLASSES[:3]
    )
    assert np.array_equal(other.result.scores.counts, usual.result.scores.counts)


def test_a_number_names_its_list_and_its_ground_truth(
    truth: Masks, predicted: Masks, save: Save
) -> None:
    place, masks = save("truth", truth), save("masks", predicted)
    first = evaluate(masks=masks, truth=place, classes=CLASSES)
    assert first.truth_sha256 == evaluate(masks=masks, truth=place, classes=CLASSES).truth_sha256
    fewer = evaluate(masks=masks, truth=place, classes=CLASSES, names=["000", "001"])
    assert fewer.list_sha256 != first.list_sha256
    write_mask(place / "000.png", np.zeros_like(truth["000"]))
    changed = evaluate(masks=masks, truth=place, classes=CLASSES)
    assert changed.truth_sha256 != first.truth_sha256
    assert changed.list_sha256 == first.list_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, "empty list"),
        ({"masks": None}, "masks or maps, one of the two"),
        ({"maps": "maps"}, "masks or maps, one of the two"),
        ({"rule": Fixed(0.3)}, "puts the background of maps"),
        ({"classes": ()}, "classes: expected 1 to 254"),
        ({"processes": 0}, "processes: expected 1 or more"),
        ({"measure": Measure(ignore=300)}, "ignore: expected a label"),
        ({"measure": Measure(boundary=(5.0,))}, "boundary: expected shares"),
        ({"names": ["a"]}, "none of 1 images can be scored: images without ground truth"),
    ],
)
def test_wrong_use_says_what_was_expected(
    truth: Masks, predicted: Masks, save: Save, change: dict[str, Any], message: str
) -> None:
    usual: dict[str, Any] = {
        "masks": save("masks", predicted), "truth": save("truth", truth), "classes": CLASSES,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        evaluate(**(usual | change))


def test_empty_and_missing_folders_are_named(tmp_path: Path, truth: Masks, save: Save) -> None:
    place = save("truth", truth)
    (tmp_path / "empty").mkdir()
    for masks, error in ((tmp_path / "empty", ValueError), (tmp_path / "no", FileNotFoundError)):
        with pytest.raises(error, match=masks.name):
            evaluate(masks=masks, truth=place, classes=CLASSES)
        with pytest.raises(error, match=masks.name):
            evaluate(masks=place, truth=masks, classes=CLASSES)
        with pytest.raises(error, match=masks.name):
            evaluate(maps=FromFiles(folder=masks), truth=place, classes=CLASSES)
