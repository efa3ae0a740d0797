"""Photographs from disk: the real layouts in miniature, with micro-CLIP of random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablations import components
from ablations.comparison import CAMS, REFINEMENTS
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import write_voc
from bench.cli import main
from bench.errors import BenchError
from bench.runs.record import Conditions
from bench.runs.store import Store
from bench.studies import preset as presets
from bench.studies.method import MethodRow
from bench.studies.preset import COCO, SMOKE, VOC, study_for
from bench.studies.study import load_study
from bench.tasks.scoring import TASKS
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.counts import check_alike
from tests.bench.fake import quiet
from tests.elsewhere import elsewhere
from weakclip.config import MICRO, PAPER, RELEASE, WeakCLIPConfig
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.data.read.coco import COCO_CATEGORIES
from weakclip.data.read.voc import list_voc
from weakclip.masking.plan import MICRO_CRF
from weakclip.stages.words import MICRO_BACKGROUND, Words
from weakclip.training.execution import REFERENCE, Execution
from weakclip.training.views import Framing

LISTS = "ImageSets/Segmentation"


def small(preset: presets.Preset) -> presets.Preset:
    """The preset with networks and images of micro size."""
    return replace(
        preset, clip="random-micro", config=MICRO, recipe=SMOKE.recipe, source=SMOKE.source,
        words=Words(background=MICRO_BACKGROUND), framing=Framing(size=64), views=3,
        scales=(1.0, 0.5), max_side=96, crf=MICRO_CRF,
    )  # fmt: skip


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOC's layout: images of several sizes, and a `trainaug` whose masks are missing."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("voc") / "VOC2012"
    write_voc(root, WorldConfig(size=128), seed=3, splits={"train": 5, "val": 3})
    shutil.rmtree(root / "CartoonVOC")  # of photographs nobody knows more than their masks
    for number, path in enumerate(sorted((root / "JPEGImages").glob("*.jpg"))):
        box = (0, 0, 128 - 16 * (number % 2), 128 - 8 * (number % 3))
        mask = root / "SegmentationClass" / f"{path.stem}.png"
        Image.open(path).crop(box).save(path)
        write_mask(mask, np.ascontiguousarray(read_mask(mask)[: box[3], : box[2]]))
    train = (root / LISTS / "train.txt").read_text().split()
    (root / LISTS / "trainaug.txt").write_text("".join(f"{name}\n" for name in train))
    (root / LISTS / "train.txt").write_text("".join(f"{name}\n" for name in train[:3]))
    for name in train[3:]:
        (root / "SegmentationClass" / f"{name}.png").unlink()
    return root


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


def opened(root: Path | None, artifacts: Path, execution: Execution = REFERENCE) -> ImageWorkbench:
    device = torch.device("cpu")
    return open_workbench(small(VOC), root, device, artifacts, execution=execution)


def test_a_run_scores_images_of_any_size_at_the_size_of_the_file(
    voc: Path, artifacts: Path
) -> None:
    bench = opened(voc, artifacts)
    outcome = bench.run(MICRO, 0, report=quiet)
    assert tuple(outcome.counts) == TASKS
    assert outcome.counts["train-pseudo"].shape == (3, 21, 3)
    assert outcome.counts["val-network"].shape == (3, 21, 3)
    for split, task in (("train", "train-pseudo"), ("val", "val-network")):
        for row, name in enumerate((voc / LISTS / f"{split}.txt").read_text().split()):
            truth = read_mask(voc / "SegmentationClass" / f"{name}.png")
            assert outcome.counts[task][row, :, 2].sum() == (truth != 255).sum()
    known = bench.images["pseudo"].image_labels.numpy()
    assert not outcome.counts["train-pseudo"][:, 1:, 1][~known].any()
    assert outcome.parameters["matching"]["trainable"] > 0


def test_two_runs_are_equal_and_an_interrupted_one_goes_on(voc: Path, artifacts: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(step: int, total: int) -> None:
        if step == 3:
            raise StoppedError

    bench = opened(voc, artifacts)
    first = bench.run(MICRO, 1, report=quiet)
    assert first.discard is not None
    first.discard()
    with pytest.raises(StoppedError):
        bench.run(MICRO, 1, report=stop)
    second = opened(voc, artifacts).run(MICRO, 1, report=quiet)
    assert first.curve == second.curve
    for task in TASKS:
        assert np.array_equal(first.counts[task], second.counts[task])
    assert not list((artifacts / "training").glob("*.pt"))


def test_images_or_masks_of_the_same_names_are_other_data(
    voc: Path, artifacts: Path, tmp_path: Path
) -> None:
    first = set_up_of(voc, artifacts)
    shutil.copytree(voc, tmp_path / "copy")
    assert set_up_of(tmp_path / "copy", artifacts).fit(first)
    name = (voc / LISTS / "val.txt").read_text().split()[0]
    mask = tmp_path / "copy" / "SegmentationClass" / f"{name}.png"
    image = tmp_path / "copy" / "JPEGImages" / f"{name}.jpg"
    whole = read_mask(mask)
    write_mask(mask, np.ascontiguousarray(whole[:, ::-1]))
    other = set_up_of(tmp_path / "copy", artifacts)
    assert other.id == first.id
    assert not other.fit(first)
    write_mask(mask, whole)
    assert set_up_of(tmp_path / "copy", artifacts).fit(first)
    with Image.open(image) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert not set_up_of(tmp_path / "copy", artifacts).fit(first)


def set_up_of(root: Path, artifacts: Path) -> Conditions:
    bench = opened(root, artifacts)
    return Conditions.of(bench.protocol, bench.data, bench.weights)


def test_another_device_scores_the_same(voc: Path, artifacts: Path, tmp_path: Path) -> None:
    expected = opened(voc, artifacts).run(MICRO, 0, report=quiet)
    with elsewhere() as there:
        found = open_workbench(small(VOC), voc, there, tmp_path).run(MICRO, 0, report=quiet)
    check_alike(found, expected)


def test_another_precision_is_another_protocol(voc: Path, artifacts: Path) -> None:
    single, half = opened(voc, artifacts), opened(voc, artifacts, Execution(precision="bfloat16"))
    assert half.protocol == {**single.protocol, "precision": "bfloat16"}
    assert "precision" not in single.protocol  # records from before the choice stay valid
    first, second = (bench.run(MICRO, 2, report=quiet).curve for bench in (single, half))
    assert first != second
    for row, other in zip(first, second, strict=True):
        assert other == pytest.approx(row, rel=0.1)


def test_no_mask_of_the_training_split_is_looked_at(voc: Path, artifacts: Path) -> None:
    bench = opened(voc, artifacts)
    assert [mask is None for mask in bench.images["train"].files.masks] == [False] * 3 + [True] * 2
    assert bench.protocol["trained_on"] == "trainaug"
    assert bench.data["images"] == {"train": 5, "pseudo": 3, "val": 3}


def test_a_split_that_is_scored_needs_all_its_masks(voc: Path, artifacts: Path) -> None:
    preset = replace(small(VOC), splits={"train": "train", "pseudo": "trainaug", "val": "val"})
    with pytest.raises(BenchError, match="'trainaug': expected a mask of every image, got none"):
        open_workbench(preset, voc, torch.device("cpu"), artifacts)


def test_without_a_data_root_there_are_no_photographs(artifacts: Path) -> None:
    with pytest.raises(BenchError, match="'voc': expected --data-root, the folder of VOC"):
        opened(None, artifacts)


@pytest.mark.parametrize("name", sorted(CAMS))
def test_every_source_of_maps_runs_on_photographs(voc: Path, artifacts: Path, name: str) -> None:
    row = MethodRow(cam=CAMS[name], refinement=REFINEMENTS["pamr"])
    outcome = opened(voc, artifacts).run(row, 0, report=quiet)
    assert tuple(outcome.counts) == TASKS[:2]
    assert outcome.counts["train-pseudo"].shape == (3, 21, 3)


def test_coco_is_read_in_its_official_layout(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    generator = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    for split, count in (("train2014", 3), ("val2014", 2)):
        names = [f"COCO_{split}_{number:012d}" for number in range(1, count + 1)]
        content = {
            "images": [
                {"id": n, "file_name": f"{name}.jpg", "height": 64, "width": 80}
                for n, name in enumerate(names, start=1)
            ],
            "annotations": [
                {
                    "id": n, "image_id": n, "category_id": 18, "iscrowd": 0, "area": 400,
                    "bbox": [8, 8, 20, 20], "segmentation": [[8, 8, 28, 8, 28, 28, 8, 28]],
                }
                for n in range(1, count)  # the last image has none
            ],
            "categories": [{"id": one, "name": name} for one, name in COCO_CATEGORIES.items()],
        }  # fmt: skip
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        (root / split).mkdir()
        dog = list(COCO_CATEGORIES).index(18) + 1
        annotated = np.zeros((64, 80), np.uint8)
        annotated[8:28, 8:28] = dog
        for name in names:
            pixels = generator.integers(0, 256, (64, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f"{name}.jpg")
            write_mask(root / "SegmentationClass" / f"{name}.png", annotated)
    known = dict.fromkeys(COCO_CATEGORIES.values(), ("dog",))  # micro-CLIP's vocabulary is small
    words = Words(background=MICRO_BACKGROUND, synonyms=known)
    preset = replace(small(COCO), words=words, config=MICRO)
    bench = open_workbench(preset, root, torch.device("cpu"), tmp_path / "artifacts")
    assert len(bench.class_names) == 81
    assert bench.images["train"].image_labels.sum(dim=0).nonzero().tolist() == [[dog - 1]]
    assert bench.data["images"] == {"train": 2, "pseudo": 2, "val": 1}


def test_the_command_runs_a_study_at_the_size_of_the_preset(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = replace(MICRO, tau=0.05)  # stands in for the paper's size
    monkeypatch.setitem(presets._PRESETS, "voc", replace(small(VOC), config=paper))
    out = tmp_path / "results"
    words = ["run", "components", "--preset", "voc", "--data-root", str(voc), "--out", str(out),
             "--artifacts", str(tmp_path / "artifacts"), "--workers", "1", "--device", "cpu",
             "--seeds", "0", "--variants", "full", "no-co-attention"]  # fmt: skip
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed"] == 0
    record = Store(out).read("components", "no-co-attention", 0)
    assert record is not None
    assert record.config["tau"] == 0.05
    assert record.preset == "voc"
    assert main(["report", "components", "--out", str(out), "--check"]) == 0


@pytest.mark.parametrize("name", ["components", "factorial", "sensitivity", "release-vs-paper"])
def test_every_study_of_weakclip_has_a_counterpart_at_paper_size(name: str) -> None:
    study = study_for(load_study(name), "voc")
    assert study.reference.config == PAPER
    assert (
        len(study.variants) >= len(load_study(name).variants) - 2
    )  # depth 3 and raw taps are the paper's own


def test_rows_at_paper_size_depart_from_the_paper_in_their_component_alone() -> None:
    rows = {row.name: row.config for row in study_for(components.STUDY, "voc").rows}
    assert rows["no-co-attention"] == replace(PAPER, matching=components.BASELINE.matching)
    plain = rows["no-text-guidance"]
    assert plain == replace(PAPER, decoder=replace(components.PLAIN, channels=256, dropout=0.1,
                                                   classifier_std=0.01))  # fmt: skip


def test_the_comparison_has_its_parts_at_paper_size() -> None:
    micro, paper = load_study("comparison"), study_for(load_study("comparison"), "voc")
    assert [row.name for row in paper.rows] == [row.name for row in micro.rows]
    for row in paper.rows:
        assert isinstance(row.config, MethodRow)
        if isinstance(row.config.refinement, WeakCLIPConfig):
            assert getattr(row.config.refinement.decoder, "channels", 0) == 256


def test_maps_that_others_made_take_the_place_of_the_presets(voc: Path, tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    shutil.copytree(voc, root)
    (root / "mctformer").mkdir()
    files = list_voc(root, "trainaug")
    generator = np.random.default_rng(0)
    for index, name in enumerate(files.names):
        classes = files.image_labels[index].nonzero()[:, 0].tolist()
        size = files.image(index).shape[1:]
        maps = {each: generator.random(size, dtype=np.float32) for each in classes}
        np.save(root / "mctformer" / f"{name[:-4]}.npy", maps, allow_pickle=True)  # type: ignore[arg-type]
    preset = replace(small(VOC), maps="mctformer")
    bench = open_workbench(preset, root, torch.device("cpu"), tmp_path)
    outcome = bench.run(MICRO, 0, report=quiet)
    assert tuple(outcome.counts) == TASKS
    assert outcome.seconds["maps"] == 0
    seeds = bench.protocol["seeds"]
    assert isinstance(seeds, dict)
    assert (seeds["kind"], seeds["folder"]) == ("FromFiles", "mctformer")
    given = bench.data["maps"]
    assert isinstance(given, dict)
    assert given["count"] == len(files)
    assert "maps" not in opened(voc, tmp_path).data
    (root / "mctformer" / f"{files.names[0][:-4]}.npy").unlink()
    with pytest.raises(ValueError, match="tagged images without a file of maps: 1"):
        open_workbench(preset, root, torch.device("cpu"), tmp_path).run(MICRO, 1, report=quiet)
    with pytest.raises(BenchError, match="maps=nowhere: no such folder"):
        open_workbench(replace(preset, maps="nowhere"), root, torch.device("cpu"), tmp_path)


def test_the_release_and_the_paper_are_planned_on_maps_that_others_made() -> None:
    preset = presets.load_preset("voc+maps=mctformer")
    study = study_for(load_study("release-vs-paper"), preset.name)
    assert study.name.startswith("release-vs-paper-set-")
    rows = {row.name: row.config for row in study.rows}
    assert rows["paper"] == PAPER
    release = replace(RELEASE, drop_path=PAPER.drop_path)  # features are computed once
    assert rows["release"] == release
    method = preset.method(rows["release"])
    assert method.maps == FromFiles(folder=Path("mctformer"))
