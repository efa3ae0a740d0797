from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.comparison import CAMS, REFINEMENTS
from bench.errors import BenchError
from bench.runs.provenance import determinism_flags
from bench.studies.method import Method
from bench.studies.preset import SMOKE
from bench.tasks import task
from bench.tasks.bank import BankBatches
from bench.tasks.measured import TASKS
from bench.tasks.task import CartoonWorkbench, prepare
from tests.bench.counts import check_alike
from tests.elsewhere import elsewhere
from weakclip.config import MICRO, RELEASE, SeedAndBoundary, WeakCLIPConfig
from weakclip.crf.dense import build_lattices, dense_crf
from weakclip.labels import IGNORE
from weakclip.training.execution import Execution
from weakclip.training.stream import view_rows
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.stages.protocols import Setting


def quiet(step: int, total: int) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def bench(artifacts: Path) -> CartoonWorkbench:
    return CartoonWorkbench(SMOKE, None, torch.device("cpu"), artifacts)


def test_the_confusion_matrix_holds_the_counts(bench: CartoonWorkbench) -> None:
    outcome = bench.run(MICRO, 0, report=quiet)
    assert tuple(outcome.confusion) == TASKS
    for name, pixels in outcome.confusion.items():
        counts = outcome.counts[name].sum(axis=0)
        assert np.array_equal(np.diagonal(pixels), counts[:, 0])
        assert np.array_equal(pixels[:, :-1].sum(axis=0), counts[:, 1])
        assert np.array_equal(pixels.sum(axis=1), counts[:, 2])


def test_another_precision_is_another_protocol_on_the_same_bank(
    bench: CartoonWorkbench, artifacts: Path
) -> None:
    half = CartoonWorkbench(
        SMOKE, None, torch.device("cpu"), artifacts, execution=Execution(precision="bfloat16")
    )
    assert half.protocol == {**bench.protocol, "precision": "bfloat16"}
    assert "precision" not in bench.protocol  # records from before the choice stay valid
    first, second = (each.run(MICRO, 3, report=quiet).curve for each in (bench, half))
    assert half.features(MICRO)[0].key == bench.features(MICRO)[0].key
    assert first != second
    for row, other in zip(first, second, strict=True):
        assert other == pytest.approx(row, rel=0.1)


def test_batches_made_ahead_move_no_number(bench: CartoonWorkbench, artifacts: Path) -> None:
    ahead = CartoonWorkbench(
        SMOKE, None, torch.device("cpu"), artifacts, execution=Execution(prefetch=2)
    )
    assert ahead.protocol == bench.protocol
    first, second = (each.run(MICRO, 1, report=quiet) for each in (bench, ahead))
    assert first.curve == second.curve
    assert all(np.array_equal(first.counts[name], second.counts[name]) for name in TASKS)


def test_two_runs_give_the_same_counts(bench: CartoonWorkbench) -> None:
    first, second = (bench.run(MICRO, 1, report=quiet) for _ in range(2))
    assert tuple(first.counts) == TASKS
    for name in TASKS:
        assert np.array_equal(first.counts[name], second.counts[name])
        assert np.array_equal(first.boundary[name], second.boundary[name])
    assert first.curve == second.curve
    assert first.parameters["image tower"]["trainable"] == 0
    assert first.parameters["matching"]["trainable"] > 0


def test_a_fresh_process_opens_what_another_made(bench: CartoonWorkbench, artifacts: Path) -> None:
    counts = bench.run(MICRO, 0, report=quiet).counts
    before = sorted(path.name for path in artifacts.iterdir())
    again = CartoonWorkbench(SMOKE, None, torch.device("cpu"), artifacts)
    assert np.array_equal(
        again.run(MICRO, 0, report=quiet).counts["val-network"], counts["val-network"]
    )
    assert sorted(path.name for path in artifacts.iterdir()) == before
    assert not any("part" in name for name in before)


def test_pseudo_masks_respect_the_tags(bench: CartoonWorkbench) -> None:
    counts = bench.run(MICRO, 0, report=quiet).counts["train-pseudo"]
    predicted = torch.from_numpy(counts[:, 1:, 1]) > 0
    assert not bool((predicted & ~bench.train.image_labels).any())


def test_only_tagged_classes_are_seeded(bench: CartoonWorkbench) -> None:
    for seeds, tags in zip(bench.seeds, bench.train.image_labels, strict=True):
        used = {int(label) for label in seeds.unique()} - {0, IGNORE}
        assert used <= {int(label) + 1 for label in tags.nonzero().flatten()}


def test_the_bank_holds_what_the_tower_says(bench: CartoonWorkbench) -> None:
    bank, _ = bench.features(MICRO)
    tower = bench.clip.image.configured(taps=MICRO.taps, class_token="clip")
    image = normalise_images(bench.train.images[3:4], bench.clip.mean, bench.clip.std)
    direct, kept = tower(image), bank.features([3 * bank.views])
    assert torch.allclose(direct.dense_embedding, kept.dense_embedding, atol=1e-5)
    expected = bank.standardise(direct).taps
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, kept.taps, strict=True))
    mirrored = tower(image.flip(-1))
    assert torch.allclose(
        mirrored.dense_embedding, bank.features([3 * bank.views + 1]).dense_embedding, atol=1e-5
    )


def test_standardised_taps_have_mean_0_and_deviation_1(bench: CartoonWorkbench) -> None:
    bank, _ = bench.features(MICRO)
    taps = bank.plain().taps
    for tap in taps:
        assert torch.allclose(tap.mean(dim=(0, 2, 3)), torch.zeros(tap.shape[1]), atol=1e-3)
        assert torch.allclose(tap.std(dim=(0, 2, 3)), torch.ones(tap.shape[1]), atol=1e-3)


def test_kept_lattices_change_no_batch(bench: CartoonWorkbench) -> None:
    bank, _ = bench.features(MICRO)
    assert isinstance(MICRO.supervision, SeedAndBoundary)
    crf = MICRO.supervision.crf
    source = BankBatches(bank, batch_size=3, seed=0, crf=crf)
    batch = source(2)
    assert batch.lattices is not None
    assert len(batch.lattices) == 3
    fresh = build_lattices(batch.grid_images, crf)

    probs = torch.rand(3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    kept = dense_crf(batch.grid_images, probs, crf, lattices=batch.lattices)
    assert torch.allclose(kept, dense_crf(batch.grid_images, probs, crf, lattices=fresh), atol=1e-6)


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


def test_a_tower_with_drop_path_is_refused(bench: CartoonWorkbench) -> None:
    with pytest.raises(ValueError, match="drop path"):
        bench.run(replace(RELEASE, taps=MICRO.taps), 0, report=quiet)


def test_a_data_root_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="VOC"):
        CartoonWorkbench(SMOKE, tmp_path, torch.device("cpu"), tmp_path).train  # noqa: B018


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean 'cartoon'"):
        prepare("carton", data_root=None, device="cpu", artifacts=tmp_path)


def test_float32_is_not_rounded_on_a_gpu(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's default
    prepare("smoke", data_root=None, device="cpu", artifacts=artifacts)
    assert not torch.backends.cudnn.allow_tf32
    assert determinism_flags()["cudnn_tf32"] is False


def test_a_search_is_scored_on_a_split_that_no_table_reports(bench: CartoonWorkbench) -> None:
    told: list[tuple[int, float]] = []
    tuned = bench.run_on_tune(MICRO, bench.preset.recipe, 0, report=lambda *args: told.append(args))
    assert 0 <= tuned.miou <= 1
    assert tuned.seconds > 0
    assert [step for step, _ in told] == [2, 4]
    assert all(np.isfinite(loss) for _, loss in told)


def test_a_finished_training_leaves_no_state(bench: CartoonWorkbench, artifacts: Path) -> None:
    bench.run(MICRO, 0, report=quiet)
    assert not list((artifacts / "training").glob("*"))


def test_a_method_is_scored_on_train_and_its_maps_are_kept(
    bench: CartoonWorkbench, artifacts: Path
) -> None:
    method = Method(cam=FlatMaps(), refinement=Thresholds())
    first = bench.run(method, 0, report=quiet)
    assert tuple(first.counts) == ("train-pseudo", "train-pseudo-crf")
    assert first.parameters == {"maps": {"total": 1, "trainable": 1}}
    assert len(list(artifacts.glob("maps-*.npz"))) == 1
    again = bench.run(method, 0, report=quiet)
    assert np.array_equal(first.counts["train-pseudo"], again.counts["train-pseudo"])
    assert first.seconds["cam"] == again.seconds["cam"]
    # Everywhere above the background: only tagged classes are predicted, and each image has one.
    predicted = first.counts["train-pseudo"][:, :, 1] > 0
    assert not predicted[:, 0].any()
    assert not (predicted[:, 1:] & ~bench.train.image_labels.numpy()).any()


def test_weakclip_can_refine_the_maps_of_any_method(
    bench: CartoonWorkbench, artifacts: Path
) -> None:
    before = {path.name for path in artifacts.iterdir() if path.is_dir()}
    outcome = bench.run(Method(cam=FlatMaps(), refinement=MICRO), 0, report=quiet)
    assert {"maps", "adapter", "matching", "decoder"} <= set(outcome.parameters)
    assert len(outcome.curve) == 2
    assert {path.name for path in artifacts.iterdir() if path.is_dir()} <= before | {"training"}


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
        Method(cam=CAMS["cam"], refinement=REFINEMENTS["pamr"]),
        Method(cam=CAMS["clip-es"], refinement=REFINEMENTS["random-walk"]),
        Method(cam=CAMS["clims"], refinement=REFINEMENTS["caa"]),
        Method(cam=CAMS["maskclip"], refinement=MICRO),
    ],
    ids=["weakclip", "cam-pamr", "clip-es-random-walk", "clims-caa", "maskclip-weakclip"],
)
def test_another_device_gives_the_same_masks(
    bench: CartoonWorkbench, tmp_path: Path, config: WeakCLIPConfig | Method
) -> None:
    expected = bench.run(config, 0, report=quiet)
    with elsewhere() as there:
        found = CartoonWorkbench(SMOKE, None, there, tmp_path).run(config, 0, report=quiet)
    check_alike(found, expected)


def test_hard_labels_are_those_of_argmax_also_among_equals() -> None:
    scores = torch.randint(0, 3, (4, 5, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(task.hard_labels(scores), scores.argmax(1))
