"""The whole way, from a folder of images to masks on disk, with random weights."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from tests.elsewhere import elsewhere
from tests.weakclip.masking.conftest import picture
from weakclip.clip.load import load_clip
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.folder import list_folder
from weakclip.masking.make import make_masks
from weakclip.masking.plan import MaskPlan, plan_for
from weakclip.masking.predict import load
from weakclip.stages.method import finished
from weakclip.stages.size import shrink
from weakclip.training.execution import REFERENCE, Execution
from weakclip.training.loop import fit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.crf.dense import CRFConfig
    from weakclip.network.model import WeakCLIP
    from weakclip.stages.images import Memory
    from weakclip.training.losses import Supervision
    from weakclip.training.parallel import Processes
    from weakclip.training.recipe import BatchSource, Recipe


def without_crf(plan: MaskPlan) -> MaskPlan:
    """The plan whose scores are not refined."""
    return replace(plan, method=replace(plan.method, crf=None))


def masks_of(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """All masks by their path below the folder."""
    found = sorted((folder / "masks").rglob("*.png"))
    return {path.relative_to(folder / "masks").as_posix(): read_mask(path) for path in found}


def same(first: dict[str, NDArray[np.uint8]], second: dict[str, NDArray[np.uint8]]) -> bool:
    """Batches of other sizes round otherwise, which may move a pixel between two classes."""
    return first.keys() == second.keys() and all(
        (first[name] == second[name]).mean() > 0.99 for name in first
    )


@pytest.mark.parametrize("method", ["clip-es", "weakclip"])
def test_every_tagged_image_gets_whole_files(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, method: str
) -> None:
    plan = quick if method == "weakclip" else plan_for(clip, "clip-es")
    files, out = list_folder(photos), tmp_path / "out"
    phases: list[tuple[str, int, int]] = []
    run = make_masks(files, clip, out, plan, report=lambda *args: phases.append(args))
    assert (run.done, run.kept, run.skipped, run.failed) == (3, 0, 0, ())
    masks = masks_of(out)
    assert {name: mask.shape for name, mask in masks.items()} == {
        "a.png": (90, 130), "sub/b c.png": (64, 80), "sub/ü.png": (90, 130)
    }  # fmt: skip
    allowed = {"a.png": {0, 2}, "sub/b c.png": {0, 1, 3}, "sub/ü.png": {0, 2}}
    for name, mask in masks.items():
        assert set(np.unique(mask).tolist()) <= allowed[name]  # classes: cat, dog, person
    assert sorted(path.name for path in out.rglob("*.jpg")) == ["a.jpg", "b c.jpg", "ü.jpg"]
    content = json.loads((out / "masks.json").read_text())
    assert [image["file_name"] for image in content["images"]] == list(files.names)
    for found in content["annotations"]:
        name = files.names[found["image_id"] - 1]
        mask = masks[name.rpartition(".")[0] + ".png"]
        assert found["area"] == (mask == found["category_id"]).sum()
        assert found["segmentation"]["size"] == list(mask.shape)
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "done"
    assert record["masks"] == {"done": 3, "kept": 0, "skipped": 0}
    assert record["clip"]["sha256"] == clip.sha256
    assert phases[-1] == ("masks", 3, 3)
    assert not [path for path in out.rglob("*") if ".tmp" in path.name or ".state" in path.name]


@pytest.mark.parametrize("method", ["clip-es", "weakclip"])
def test_another_device_gives_the_same_masks(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, method: str
) -> None:
    plan = quick if method == "weakclip" else plan_for(clip, "clip-es")
    files = list_folder(photos)
    make_masks(files, clip, tmp_path / "here", plan)
    with elsewhere() as there:
        moved = load_clip("random-micro", device=there)
        assert make_masks(files, moved, tmp_path / "there", plan).done == 3
    assert same(masks_of(tmp_path / "here"), masks_of(tmp_path / "there"))


def test_masks_do_not_depend_on_the_batch(photos: Path, tmp_path: Path, clip: CLIPBundle) -> None:
    files, plan = list_folder(photos), plan_for(clip, "clip-es")
    for size in (1, 8):
        make_masks(files, clip, tmp_path / str(size), plan, batch_size=size)
    assert same(masks_of(tmp_path / "1"), masks_of(tmp_path / "8"))


def test_an_interrupted_run_goes_on_and_ends_alike(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list_folder(photos)
    make_masks(files, clip, tmp_path / "whole", quick)

    def interrupt(phase: str, done: int, total: int) -> None:
        if (phase, done, total) == ("training", 2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_masks(
            files,
            clip,
            tmp_path / "parts",
            quick,
            report=interrupt,
        )
    assert json.loads((tmp_path / "parts" / "run.json").read_text())["status"] == "interrupted"
    real, saved = Image.Image.save, []

    def fourth_stops(image: Image.Image, path: Path, **options: str) -> None:
        saved.append(path)
        real(image, path, **options)
        if len(saved) == 4:  # the first image has its two files, the second its preview
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fourth_stops)
        with pytest.raises(KeyboardInterrupt):
            make_masks(files, clip, tmp_path / "parts", quick, resume=True)
    assert len(masks_of(tmp_path / "parts")) == 1
    run = make_masks(files, clip, tmp_path / "parts", quick, resume=True)
    assert (run.done, run.kept) == (2, 1)
    assert same(masks_of(tmp_path / "whole"), masks_of(tmp_path / "parts"))
    assert not [path for path in (tmp_path / "parts").rglob("*") if ".tmp" in path.name]
    assert make_masks(files, clip, tmp_path / "parts", quick, resume=True).done == 0


def test_results_of_another_run_are_never_mixed(
    photos: Path, tmp_path: Path, clip: CLIPBundle
) -> None:
    files, plan, out = list_folder(photos), plan_for(clip, "clip-es"), tmp_path / "out"
    make_masks(files, clip, out, plan)
    with pytest.raises(ValueError, match="holds masks already; resume"):
        make_masks(files, clip, out, plan)
    with pytest.raises(ValueError, match=r"plan.method.crf was .*, is null; choose"):
        make_masks(files, clip, out, without_crf(plan), resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        make_masks(files, clip, tmp_path / "mine", plan)


@pytest.mark.parametrize("method", ["clip-es", "weakclip"])
def test_a_new_image_and_one_with_other_tags_get_masks_and_the_others_stay(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, method: str
) -> None:
    plan = quick if method == "weakclip" else plan_for(clip, "clip-es")
    out = tmp_path / "out"
    make_masks(list_folder(photos), clip, out, plan)
    trained = json.loads((out / "run.json").read_text())["training"]
    before = {path: path.stat().st_mtime_ns for path in (out / "masks").rglob("*.png")}
    picture(photos / "z.png", (64, 64))
    labels = (photos / "labels.csv").read_text().replace("a.jpg,dog", "a.jpg,cat") + "z.png,dog\n"
    (photos / "labels.csv").write_text(labels)
    run = make_masks(list_folder(photos), clip, out, plan, resume=True)
    assert (run.done, run.kept) == (2, 2)
    assert set(np.unique(masks_of(out)["a.png"]).tolist()) <= {0, 1}
    kept = out / "masks" / "sub" / "b c.png"
    assert kept.stat().st_mtime_ns == before[kept]
    assert json.loads((out / "run.json").read_text())["training"] == trained


def test_a_damaged_mask_is_made_again(photos: Path, tmp_path: Path, clip: CLIPBundle) -> None:
    files, plan, out = list_folder(photos), plan_for(clip, "clip-es"), tmp_path / "out"
    make_masks(files, clip, out, plan)
    before = masks_of(out)
    (out / "masks" / "a.png").write_bytes(b"")
    run = make_masks(files, clip, out, plan, resume=True)
    assert (run.done, run.kept) == (1, 2)
    assert same(before, masks_of(out))


def test_a_trained_network_labels_images_without_tags(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    make_masks(list_folder(photos), clip, tmp_path / "out", quick)
    for folder in (tmp_path / "out", tmp_path / "out" / "network"):
        network = load(folder)
        with Image.open(photos / "a.jpg") as image:
            found = network.predict(image)
        assert found.class_names == ("cat", "dog", "person")
        assert found.labels.shape == found.scores.shape[1:] == (90, 130)
        np.testing.assert_allclose(found.scores.sum(axis=0), 1, atol=1e-5)
    array = np.asarray(Image.open(photos / "a.jpg"))
    assert np.array_equal(network.predict(array[:, ::-1]).labels.shape, (90, 130))
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\)"):
        network.predict(array[..., 0])
    with pytest.raises(ValueError, match="another clip_sha256"):
        load(tmp_path / "out", clip=replace(clip, sha256="0" * 64))
    with pytest.raises(FileNotFoundError, match=r"no network\.json"):
        load(photos)


@pytest.mark.parametrize("method", ["clip-es", "weakclip"])
def test_bad_images_are_counted_and_stop_nothing(
    photos: Path,
    tmp_path: Path,
    clip: CLIPBundle,
    quick: MaskPlan,
    bomb: Callable[[Path], None],
    method: str,
) -> None:
    bomb(photos / "bomb.png")
    (photos / "cut.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "empty.png").touch()
    (photos / "folder.jpg").mkdir()
    (photos / "loop.png").symlink_to("loop.png")
    bad = ["bomb.png", "cut.jpg", "empty.png", "folder.jpg", "loop.png", "missing.jpg"]
    rows = [f"{name},dog" for name in bad] + ["../a.jpg,dog"]
    with (photos / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    picture(photos / "untagged.png", (64, 64))
    files = list_folder(photos)
    plan = quick if method == "weakclip" else plan_for(clip, "clip-es")
    run = make_masks(files, clip, tmp_path / "out", plan)
    assert (run.done, run.skipped) == (3, 1)
    assert sorted(each.name for each in run.failed) == sorted([*bad, "labels.csv:11"])
    reasons = {each.name: each.reason for each in run.failed}
    assert "too many pixels" in reasons["bomb.png"]
    assert reasons["missing.jpg"] == "no such image; copy it, or remove what names it"
    assert "below the folder of the images" in reasons["labels.csv:11"]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert len(record["failed"]) == 7
    picture(photos / "empty.png", (64, 64))  # repaired
    run = make_masks(list_folder(photos), clip, tmp_path / "out", plan, resume=True)
    assert (run.done, run.kept, len(run.failed)) == (1, 3, 6)


def test_folders_are_tags_even_without_images_and_names_may_repeat(
    tmp_path: Path, clip: CLIPBundle
) -> None:
    root, out = tmp_path / "photos", tmp_path / "out"
    for seed, name in enumerate(("dog/x.jpg", "person/x.jpg", "person/x.png")):
        picture(root / name, (64, 64), seed=seed)
    (root / "cat").mkdir()  # a tag that no image has: it keeps its label
    files = list_folder(root)
    assert files.classes == ("cat", "dog", "person")
    assert make_masks(files, clip, out, without_crf(plan_for(clip))).done == 3
    masks = masks_of(out)
    allowed = {"dog/x.png": {0, 2}, "person/x.jpg.png": {0, 3}, "person/x.png.png": {0, 3}}
    assert masks.keys() == allowed.keys()
    for name, mask in masks.items():
        assert set(np.unique(mask).tolist()) <= allowed[name]
        assert mask.any()
    names = [each["name"] for each in json.loads((out / "masks.json").read_text())["categories"]]
    assert names == ["cat", "dog", "person"]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_an_image_too_large_for_the_memory_is_that_images_problem(
    photos: Path,
    tmp_path: Path,
    clip: CLIPBundle,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def small_memory(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        if image.shape[1] == 64:
            raise error
        return shrink(image, size)

    monkeypatch.setattr("weakclip.stages.images.shrink", small_memory)
    run = make_masks(list_folder(photos), clip, tmp_path / "out", plan_for(clip, "clip-es"))
    assert run.done == 2
    assert [(each.name, each.reason) for each in run.failed] == [
        ("sub/b c.png", "not enough memory; make the image smaller")
    ]


def test_other_errors_are_not_taken_for_bad_images(
    photos: Path, tmp_path: Path, clip: CLIPBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("a mistake in the program")

    monkeypatch.setattr("weakclip.stages.images.shrink", broken)
    with pytest.raises(RuntimeError, match="a mistake"):
        make_masks(list_folder(photos), clip, tmp_path / "out", plan_for(clip, "clip-es"))


def test_untagged_images_can_be_background(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    picture(photos / "untagged.png", (70, 64))
    for name, plan in (("free", plan_for(clip, "clip-es")), ("trained", quick)):
        plan = replace(plan, untagged="background")
        run = make_masks(list_folder(photos), clip, tmp_path / name, plan)
        assert (run.done, run.skipped, run.failed) == (4, 0, ())
        mask = read_mask(tmp_path / name / "masks" / "untagged.png")
        assert mask.shape == (70, 64)
        assert not mask.any()


def test_nothing_but_bad_images_is_no_crash(
    tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    (tmp_path / "photos" / "labels.csv").write_text("file,labels\na.png,dog\n")
    run = make_masks(list_folder(tmp_path / "photos"), clip, tmp_path / "out", quick)
    assert (run.done, len(run.failed)) == (0, 1)


def test_memory_that_runs_out_makes_batches_smaller(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []

    def small_memory(
        images: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        crf: CRFConfig | None,
        memory: Memory | None,
    ) -> torch.Tensor:
        sizes.append(tuple(images.shape))
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if images.shape[3] == 80:
            raise MemoryError
        return finished(images, scores, labels, crf)

    def small_training(
        model: WeakCLIP,
        losses: Supervision,
        source: BatchSource,
        recipe: Recipe,
        *,
        report: Callable[[int, int], None],
        resume: Path,
        processes: Processes,
        execution: Execution,
    ) -> list[dict[str, float]]:
        if recipe.batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert (processes.count, execution) == (1, REFERENCE)
        return fit(model, losses, source, recipe, report=report, resume=resume)

    monkeypatch.setattr("weakclip.stages.method.finished", small_memory)
    monkeypatch.setattr("weakclip.stages.network.fit", small_training)
    run = make_masks(list_folder(photos), clip, tmp_path / "out", quick)
    assert run.done == 2
    assert [each.name for each in run.failed] == ["sub/b c.png"]
    assert max(size[0] for size in sizes) == 2
    assert "choose a smaller max_side" in run.failed[0].reason
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["training"]["batch_size"] == 1
    assert record["batch_size"] == 1


def test_a_full_disk_stops_the_run_and_leaves_whole_files(
    photos: Path, tmp_path: Path, clip: CLIPBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, plan = list_folder(photos), plan_for(clip, "clip-es")
    real, calls = Image.Image.save, []

    def full(image: Image.Image, path: Path, **options: str) -> None:
        calls.append(path)
        if len(calls) == 4:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(image, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match="No space left"):
            make_masks(files, clip, tmp_path / "out", plan)
    assert len(masks_of(tmp_path / "out")) == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"
    assert make_masks(files, clip, tmp_path / "out", plan, resume=True).done == 2


def test_a_name_that_cannot_be_written_is_that_images_problem(
    photos: Path, tmp_path: Path, clip: CLIPBundle
) -> None:
    name = "x" * 250 + ".gif"  # two of a name, so that masks keep the suffix: longer than can be
    for each in (name, "x" * 250 + ".png"):
        picture(photos / each, (64, 64))
    with (photos / "labels.csv").open("a") as file:
        file.write(f"{name},dog\n")
    run = make_masks(list_folder(photos), clip, tmp_path / "out", plan_for(clip, "clip-es"))
    assert run.done == 3
    assert [each.name for each in run.failed] == [name]
    assert "cannot be written" in run.failed[0].reason


def test_too_many_classes_do_not_fit_into_a_mask(
    photos: Path, tmp_path: Path, clip: CLIPBundle
) -> None:
    files = replace(
        list_folder(photos),
        classes=tuple(map(str, range(255))),
        tags=np.ones((3, 255), np.bool_),
    )
    with pytest.raises(ValueError, match="expected 1 to 254 tags, got 255"):
        make_masks(files, clip, tmp_path / "out", plan_for(clip, "clip-es"))


def test_the_precision_is_told_and_decides_what_can_be_resumed(
    photos: Path, tmp_path: Path, clip: CLIPBundle, quick: MaskPlan
) -> None:
    files, half = list_folder(photos), Execution(precision="bfloat16", prefetch=1)
    records = []
    for name, execution in (("single", REFERENCE), ("half", half)):
        assert make_masks(files, clip, tmp_path / name, quick, execution=execution).done == 3
        records.append(json.loads((tmp_path / name / "run.json").read_text()))
    assert [each["protocol"]["precision"] for each in records] == ["float32", "bfloat16"]
    assert records[0]["id"] != records[1]["id"]
    with pytest.raises(ValueError, match=r"arithmetic was .*, is null"):
        make_masks(files, clip, tmp_path / "half", quick, resume=True)
    run = make_masks(files, clip, tmp_path / "half", quick, resume=True, execution=half)
    assert (run.done, run.kept) == (0, 3)


def test_maps_have_no_other_precision(photos: Path, tmp_path: Path, clip: CLIPBundle) -> None:
    plan, half = plan_for(clip, "clip-es"), Execution(precision="bfloat16")
    with pytest.raises(ValueError, match="bfloat16: is for method weakclip"):
        make_masks(list_folder(photos), clip, tmp_path / "out", plan, execution=half)
    assert not (tmp_path / "out").exists()
