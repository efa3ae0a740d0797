"""What a retrained network keeps, whatever it is made of; trained for a few steps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.crf.dense import CRFConfig, Gaussian
from weakclip.labels import IGNORE
from weakclip.retraining import loop
from weakclip.retraining.network import SMP, DeepLabV2, SmallFPN
from weakclip.retraining.recipe import SGD, AdamW, Crops, RetrainingRecipe
from weakclip.stages.protocols import ImageStack, Segmenter
from weakclip.stages.retrain import RetrainedNetwork, Retraining
from weakclip.training.execution import Execution
from weakclip.training.resume import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GENERATOR = torch.Generator().manual_seed(0)
DATA = ImageStack(
    torch.randint(0, 256, (5, 3, 40, 56), generator=GENERATOR, dtype=torch.uint8),
    torch.ones(5, 2, dtype=torch.bool),
)
CPU = torch.device("cpu")
THIN = "mobilenetv3_small_050"
RECIPE = RetrainingRecipe(
    iterations=4, batch_size=2, optimiser=AdamW(learning_rate=1e-2), crops=Crops(size=32),
    log_every=3,
)  # fmt: skip
SMALL = Retraining(network=SmallFPN(channels=(8, 8, 8, 8), width=8), recipe=RECIPE)
KINDS = {
    "small": SMALL,
    "balanced-sgd-multi-scale": replace(
        SMALL,
        recipe=replace(RECIPE, optimiser=SGD(learning_rate=1e-2), head_factor=10, loss="balanced"),
        scales=(0.5, 1.0),
        flip=True,
    ),
    "crf": replace(SMALL, crf=CRFConfig(terms=(Gaussian(sxy=1, weight=3),), iterations=2)),
    "deeplabv2": replace(SMALL, network=DeepLabV2(encoder=THIN, rates=(1, 2), weights=None)),
    "smp": replace(SMALL, network=SMP(architecture="FPN", encoder=f"tu-{THIN}", weights=None)),
}


class Masks:
    """Labels of some images, in memory."""

    def __init__(self, masks: torch.Tensor, indices: tuple[int, ...] = (0, 1, 2, 4)) -> None:
        self.masks, self.indices, self.key = masks, indices, "masks"

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> torch.Tensor:
        return self.masks[self.indices[position]]


LABELS = torch.randint(0, 3, (5, 40, 56), generator=GENERATOR)
LABELS[:, :10] = IGNORE


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def quiet(done: int, total: int) -> None:
    """Report nothing."""


def fitted(
    spec: Retraining,
    folder: Path | None = None,
    *,
    seed: int = 0,
    masks: torch.Tensor = LABELS,
    report: Callable[[int, int], None] = quiet,
) -> RetrainedNetwork:
    network = spec.build(3, CPU, folder=folder)
    network.fit(DATA, Masks(masks), seed=seed, report=report)
    return network


@pytest.mark.parametrize("name", KINDS)
def test_a_retrained_network_is_a_segmenter(name: str) -> None:
    network = fitted(KINDS[name])
    assert isinstance(network, Segmenter)
    probabilities = network.probabilities(DATA.images)
    assert probabilities.shape == (5, 3, 40, 56)
    assert not probabilities.requires_grad
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(5, 40, 56), atol=1e-5)
    alone = network.probabilities(DATA.images[2:3])
    assert torch.allclose(alone, probabilities[2:3], atol=1e-5)
    again = fitted(KINDS[name]).probabilities(DATA.images)
    assert torch.equal(again, probabilities)
    counts = network.parameter_counts()
    assert set(counts) == {"encoder", "segmentation head"}
    assert all(0 < each["trainable"] <= each["total"] for each in counts.values())


def test_another_seed_gives_another_network() -> None:
    first, second = (fitted(SMALL, seed=seed).probabilities(DATA.images) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_it_learns_what_the_masks_say() -> None:
    halves = torch.zeros(5, 40, 56, dtype=torch.int64)
    bright = DATA.images.clone()
    bright[:, :, :, 28:] = 255 - bright[:, :, :, 28:] // 8
    bright[:, :, :, :28] //= 8
    halves[:, :, 28:] = 2
    recipe = replace(RECIPE, iterations=60, crops=Crops(size=32, scales=(1.0, 1.0)))
    network = replace(SMALL, recipe=recipe).build(3, CPU)
    network.fit(ImageStack(bright, DATA.image_labels), Masks(halves), seed=0, report=quiet)
    right = network.probabilities(bright).argmax(dim=1) == halves
    assert float(right.float().mean()) > 0.9
    assert network.curve[-1]["retraining"] < network.curve[0]["retraining"]


def test_undecided_pixels_and_images_without_a_mask_change_nothing() -> None:
    class Noisy(ImageStack):
        def image(self, index: int) -> torch.Tensor:
            assert index != 3, "an image without a mask was read"
            return super().image(index)

    network = SMALL.build(3, CPU)
    network.fit(Noisy(DATA.images, DATA.image_labels), Masks(LABELS), seed=0, report=quiet)
    empty = torch.full_like(LABELS, IGNORE)
    curve = fitted(SMALL, masks=empty).curve
    assert [row["retraining"] for row in curve] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["small", "smp"])
def test_a_training_that_was_killed_ends_with_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Checkpoint", partial(Checkpoint, every=0))

    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise KilledError

    expected = fitted(KINDS[name])
    with pytest.raises(KilledError):
        fitted(KINDS[name], tmp_path, report=kill)
    assert len(list((tmp_path / "training").iterdir())) == 1
    steps: list[int] = []
    found = fitted(KINDS[name], tmp_path, report=lambda done, _total: steps.append(done))
    assert steps == [3, 4]
    assert found.curve == expected.curve
    for name_, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name_], value), name_
    assert not list((tmp_path / "training").iterdir())


def test_a_network_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    first = fitted(SMALL, tmp_path)
    steps: list[int] = []
    second = fitted(SMALL, tmp_path, report=lambda done, _total: steps.append(done))
    assert steps == []
    assert second.curve == first.curve
    assert torch.equal(second.probabilities(DATA.images), first.probabilities(DATA.images))
    (network,) = (tmp_path / "networks").glob("*.safetensors")
    network.write_bytes(network.read_bytes()[:-100])
    fitted(SMALL, tmp_path, report=lambda done, _total: steps.append(done))
    assert steps == [1, 2, 3, 4]
    assert set(second.files) == set((tmp_path / "networks").iterdir())


def test_a_saved_network_is_opened_whole_or_refused(tmp_path: Path) -> None:
    network, file = fitted(SMALL), tmp_path / "network.safetensors"
    network.save(file)
    opened = SMALL.build(3, CPU)
    opened.load(file)
    assert torch.equal(opened.probabilities(DATA.images), network.probabilities(DATA.images))
    with pytest.raises(ValueError, match="does not fit the model"):
        SMALL.build(4, CPU).load(file)
    with pytest.raises(ValueError, match="expected a fitted network"):
        _ = SMALL.build(3, CPU).model


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected labels 0 to 2 and 255, got 7"):
        fitted(SMALL, masks=torch.full_like(LABELS, 7))
    network = SMALL.build(3, CPU)
    with pytest.raises(ValueError, match="expected an image with a mask"):
        network.fit(DATA, Masks(LABELS, ()), seed=0, report=quiet)
    with pytest.raises(ValueError, match="random weights cannot keep its batch norms frozen"):
        replace(SMALL, recipe=replace(RECIPE, batch_norm="frozen"))


def test_bfloat16_is_another_network_near_the_first() -> None:
    half = SMALL.build(3, CPU, execution=Execution(precision="bfloat16", prefetch=1))
    half.fit(DATA, Masks(LABELS), seed=0, report=quiet)
    single = fitted(SMALL)
    assert half.curve != single.curve
    assert half.curve[0]["retraining"] == pytest.approx(single.curve[0]["retraining"], rel=0.05)
