from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.comparison import CAMS, REFINEMENTS
from bench.errors import BenchError
from bench.runs.provenance import determinism_flags
from bench.runs.record import CONTENT
from bench.studies.method import MethodRow
from bench.studies.preset import SMOKE
from bench.tasks.counts import KeptCounts
from bench.tasks.scoring import TASKS
from bench.tasks.task import ImageWorkbench, open_workbench, prepare
from tests.bench.counts import check_alike
from tests.bench.fake import quiet
from tests.elsewhere import elsewhere
from weakclip.config import MICRO, CrossEntropy, WeakCLIPConfig
from weakclip.data.formats.masks import read_mask
from weakclip.labels import IGNORE
from weakclip.ops.cells import GROUP, PIXELS
from weakclip.stages.images import Memory
from weakclip.training.execution import Execution
from weakclip.training.stream import view_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.stages.protocols import Setting


@pytest.fixture(scope="module")
def bench(artifacts: Path) -> ImageWorkbench:
    return open_workbench(SMOKE, None, torch.device("cpu"), artifacts)


def test_the_confusion_matrix_holds_the_counts(bench: ImageWorkbench) -> None:
    outcome = bench.run(MICRO, 0, report=quiet)
    assert tuple(outcome.confusion) == TASKS
    for name, pixels in outcome.confusion.items():
        counts = outcome.counts[name].sum(axis=0)
        assert np.array_equal(np.diagonal(pixels), counts[:, 0])
        assert np.array_equal(pixels[:, :-1].sum(axis=0), counts[:, 1])
        assert np.array_equal(pixels.sum(axis=1), counts[:, 2])


def test_pixels_are_counted_by_what_is_known_of_them(bench: ImageWorkbench) -> None:
    outcome = bench.run(MICRO, 0, report=quiet)
    scenes = ["contour", "shows", "occlusion | objects", "seed"]
    views = {task: list(cells) for task, cells in outcome.cells.items()}
    assert views == {"train-pseudo": scenes, "val-network": ["contour"]}
    for task, tables in outcome.cells.items():
        for view, cells in tables.items():
            names = outcome.groups[task][view]
            assert cells[:, GROUP].max() < len(names)
            assert cells[:, PIXELS].sum() == outcome.counts[task][..., 2].sum()
    shows = outcome.cells["train-pseudo"]["shows"]
    names = outcome.groups["train-pseudo"]["shows"]
    for _, group, truth, _, _ in shows.tolist():
        assert names[group].startswith("part" if truth else "stuff")


def test_another_precision_is_another_protocol(bench: ImageWorkbench, artifacts: Path) -> None:
    half = open_workbench(
        SMOKE, None, torch.device("cpu"), artifacts, execution=Execution(precision="bfloat16")
    )
    assert half.protocol == {**bench.protocol, "precision": "bfloat16"}
    assert "precision" not in bench.protocol  # records from before the choice stay valid
    first, second = (each.run(MICRO, 3, report=quiet).curve for each in (bench, half))
    assert first != second
    for row, other in zip(first, second, strict=True):
        assert other == pytest.approx(row, rel=0.1)


def test_batches_made_ahead_move_no_number(bench: ImageWorkbench, artifacts: Path) -> None:
    ahead = open_workbench(
        SMOKE, None, torch.device("cpu"), artifacts, execution=Execution(prefetch=2)
    )
    assert ahead.protocol == bench.protocol
    first, second = (each.run(MICRO, 1, report=quiet) for each in (bench, ahead))
    assert first.curve == second.curve
    assert all(np.array_equal(first.counts[name], second.counts[name]) for name in TASKS)


def test_two_runs_give_the_same_counts(bench: ImageWorkbench) -> None:
    first, second = (bench.run(MICRO, 1, report=quiet) for _ in range(2))
    assert tuple(first.counts) == TASKS
    for name in TASKS:
        assert np.array_equal(first.counts[name], second.counts[name])
        assert np.array_equal(first.boundary[name], second.boundary[name])
    assert first.curve == second.curve
    assert first.parameters["image tower"]["trainable"] == 0
    assert first.parameters["matching"]["trainable"] > 0


def test_a_fresh_process_opens_what_another_made(bench: ImageWorkbench, artifacts: Path) -> None:
    counts = bench.run(MICRO, 0, report=quiet).counts
    before = sorted(path.name for path in artifacts.iterdir())
    again = open_workbench(SMOKE, None, torch.device("cpu"), artifacts)
    assert np.array_equal(
        again.run(MICRO, 0, report=quiet).counts["val-network"], counts["val-network"]
    )
    assert sorted(path.name for path in artifacts.iterdir()) == before
    assert not any("tmp" in name for name in before)


def test_pseudo_masks_respect_the_tags(bench: ImageWorkbench) -> None:
    counts = bench.run(MICRO, 0, report=quiet).counts["train-pseudo"]
    predicted = torch.from_numpy(counts[:, 1:, 1]) > 0
    assert not bool((predicted & ~bench.images["train"].image_labels).any())


def test_only_tagged_classes_are_seeded(bench: ImageWorkbench) -> None:
    seeds, labels = bench.fitting.seeds("train"), bench.images["train"].image_labels
    for place, index in enumerate(seeds.indices):
        used = set(seeds[place].flatten().tolist()) - {0, IGNORE}
        assert used <= {int(label) + 1 for label in labels[index].nonzero().flatten()}


@pytest.mark.parametrize("config", [MICRO, replace(MICRO, supervision=CrossEntropy())])
def test_what_a_process_keeps_changes_no_number(
    bench: ImageWorkbench, tmp_path: Path, config: WeakCLIPConfig
) -> None:
    """Features and lattices kept in memory, views in a bank on disk: caches and nothing else."""
    forgetful = ImageWorkbench(
        SMOKE,
        {role: images.files for role, images in bench.images.items()},
        bench.clip,
        tmp_path,
        memory=Memory(0),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weakclip.stages.network.BANK_BYTES", 0)
        found = forgetful.run(config, 0, report=quiet)
    assert not list(tmp_path.glob("views-*"))
    expected = bench.run(config, 0, report=quiet)
    # Views are encoded in batches of another size, which rounds otherwise.
    for row, other in zip(expected.curve, found.curve, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    for name in TASKS:
        moved = np.abs(found.counts[name] - expected.counts[name])[..., 1].sum()
        assert moved <= 1e-3 * expected.counts[name][..., 1].sum()


def test_a_stopped_scoring_goes_on_where_it_was(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    expected = open_workbench(SMOKE, None, torch.device("cpu"), artifacts).run(
        MICRO, 5, report=quiet
    )
    bench = open_workbench(SMOKE, None, torch.device("cpu"), tmp_path)
    real = KeptCounts.add
    done: list[object] = []

    def stops(self: KeptCounts, indices: object, *masks: object) -> None:
        if len(done) == 3:
            raise StoppedError
        done.append(indices)
        real(self, indices, *masks)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(KeptCounts, "add", stops)
        patch.setattr("bench.tasks.scoring.COUNTED", 2)
        with pytest.raises(StoppedError):
            bench.run(MICRO, 5, report=quiet)
    (network,) = (tmp_path / "networks").glob("*.safetensors")
    written = network.stat().st_mtime_ns
    found = bench.run(MICRO, 5, report=quiet)
    assert network.stat().st_mtime_ns == written  # it was not trained again
    assert found.curve == expected.curve
    for name in TASKS:
        assert np.array_equal(found.counts[name], expected.counts[name])
    assert found.discard is not None
    found.discard()
    left = [path for name in ("networks", "counts") for path in (tmp_path / name).iterdir()]
    assert not left


@pytest.mark.parametrize(("memory", "times"), [(None, 1), (Memory(0), 2)])
def test_scoring_reads_an_annotated_mask_once(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, memory: Memory | None, times: int
) -> None:
    drawn = open_workbench(SMOKE, None, torch.device("cpu"), artifacts)
    files = {role: images.files for role, images in drawn.images.items()}
    bench = ImageWorkbench(SMOKE, files, drawn.clip, artifacts, memory=memory)
    read: list[Path] = []

    def counted(path: Path) -> NDArray[np.uint8]:
        read.append(path)
        return read_mask(path)

    monkeypatch.setattr("weakclip.data.read.tagged.read_mask", counted)
    for seed in (6, 7):
        outcome = bench.run(MICRO, seed, report=quiet)
        assert outcome.discard is not None
        outcome.discard()
    scored = (bench.images[role].files.masks for role in ("pseudo", "val"))
    paths = [path for masks in scored for path in masks if path is not None]
    assert sorted(read) == sorted(times * paths)


def test_every_image_is_seen_once_per_epoch_in_an_order_of_the_seed() -> None:
    orders = []
    for seed in (0, 1):
        rows = np.array(
            [epoch_row for step in range(8) for epoch_row in view_rows(8, 4, 3, seed, step)]
        )
        images = rows // 4
        assert sorted(images[:8]) == list(range(8)) == sorted(images[8:16])
        orders.append(rows.tolist())
    assert orders[0] != orders[1]


def test_bytes_of_files_identify_what_somebody_brings_and_not_what_is_drawn(
    bench: ImageWorkbench, artifacts: Path, tmp_path: Path
) -> None:
    assert CONTENT not in bench.data
    (drawn,) = artifacts.glob("cartoonvoc-*")
    brought = open_workbench(SMOKE, drawn, torch.device("cpu"), tmp_path)
    assert CONTENT in brought.data


def test_a_data_root_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="VOC"):
        open_workbench(SMOKE, tmp_path, torch.device("cpu"), tmp_path)


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean 'cartoon'"):
        prepare("carton", data_root=None, device="cpu", artifacts=tmp_path)


def test_float32_is_not_rounded_on_a_gpu(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's default
    prepare("smoke", data_root=None, device="cpu", artifacts=artifacts)
    assert not torch.backends.cudnn.allow_tf32
    assert determinism_flags()["cudnn_tf32"] is False


def test_a_search_is_scored_on_a_split_that_no_table_reports(bench: ImageWorkbench) -> None:
    told: list[tuple[int, float]] = []
    tuned = bench.run_on_tune(MICRO, bench.preset.recipe, 0, report=lambda *args: told.append(args))
    assert 0 <= tuned.miou <= 1
    assert tuned.seconds > 0
    assert [step for step, _ in told] == [2, 4]
    assert all(np.isfinite(loss) for _, loss in told)


def test_a_finished_training_leaves_no_state(bench: ImageWorkbench, artifacts: Path) -> None:
    bench.run(MICRO, 0, report=quiet)
    assert not list((artifacts / "training").glob("*"))


def test_a_method_is_scored_on_train_and_its_maps_are_kept(
    bench: ImageWorkbench, artifacts: Path
) -> None:
    method = MethodRow(cam=FlatMaps(), refinement=Thresholds())
    first = bench.run(method, 0, report=quiet)
    assert tuple(first.counts) == ("train-pseudo", "train-pseudo-crf")
    assert first.parameters == {"maps": {"total": 1, "trainable": 1}}
    before = {path: path.stat().st_mtime_ns for path in artifacts.glob("maps-*/*.npz")}
    again = bench.run(method, 0, report=quiet)
    assert np.array_equal(first.counts["train-pseudo"], again.counts["train-pseudo"])
    assert before == {path: path.stat().st_mtime_ns for path in artifacts.glob("maps-*/*.npz")}
    # Everywhere above the background: only tagged classes are predicted, and each image has one.
    predicted = first.counts["train-pseudo"][:, :, 1] > 0
    assert not predicted[:, 0].any()
    assert not (predicted[:, 1:] & ~bench.images["train"].image_labels.numpy()).any()


def test_weakclip_can_refine_the_maps_of_any_method(bench: ImageWorkbench, artifacts: Path) -> None:
    outcome = bench.run(MethodRow(cam=FlatMaps(), refinement=MICRO), 0, report=quiet)
    assert {"maps", "adapter", "matching", "decoder"} <= set(outcome.parameters)
    assert len(outcome.curve) == 2


@dataclass(frozen=True)
class FlatMaps:
    """Maps that are 0.9 in the left half for every tag."""

    def build(self, setting: Setting) -> FlatMaps:
        return self

    def fit(self, data: object, *, seed: int, report: object) -> None:
        pass

    def cams(self, images: torch.Tensor, image_labels: torch.Tensor) -> torch.Tensor:
        half = torch.tensor([0.9, 0.1]).view(1, 1, 1, 2)
        return image_labels.float()[:, :, None, None] * half.expand(1, 1, 2, 2)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        return {"maps": {"total": 1, "trainable": 1}}


@dataclass(frozen=True)
class Thresholds:
    """A background of 0.05 everywhere."""

    def build(self, setting: Setting) -> Thresholds:
        return self

    def fit(self, data: object, cams: object, *, seed: int, report: object) -> None:
        pass

    def scores(
        self, images: torch.Tensor, image_labels: torch.Tensor, cams: torch.Tensor
    ) -> torch.Tensor:
        resized = torch.nn.functional.interpolate(cams, images.shape[2:])
        return torch.cat([torch.full_like(resized[:, :1], 0.05), resized], dim=1)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        return {}


@pytest.mark.parametrize(
    "config",
    [
        MICRO,
        MethodRow(cam=CAMS["cam"], refinement=REFINEMENTS["pamr"]),
        MethodRow(cam=CAMS["clip-es"], refinement=REFINEMENTS["random-walk"]),
        MethodRow(cam=CAMS["clims"], refinement=REFINEMENTS["caa"]),
        MethodRow(cam=CAMS["maskclip"], refinement=MICRO),
    ],
    ids=["weakclip", "cam-pamr", "clip-es-random-walk", "clims-caa", "maskclip-weakclip"],
)
def test_another_device_gives_the_same_masks(
    bench: ImageWorkbench, tmp_path: Path, config: WeakCLIPConfig | MethodRow
) -> None:
    expected = bench.run(config, 0, report=quiet)
    with elsewhere() as there:
        found = open_workbench(SMOKE, None, there, tmp_path).run(config, 0, report=quiet)
    check_alike(found, expected)
