from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from baselines import clip_es
from baselines.crops import ScaledCrops
from baselines.weclip.labels import LearntMaps
from baselines.weclip.method import COCO, MICRO, PAPER, VOC, FittedWeCLIP, WeCLIP, on_cells
from baselines.weclip.network import DecoderSize
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.training.descent import WarmDescent

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.clip.tower import TokenTrace

torch.set_num_threads(1)
GENERATOR = torch.Generator().manual_seed(0)
SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass", "sky"),
    device=torch.device("cpu"),
)
IMAGES = torch.randint(0, 256, (4, 3, 48, 64), generator=GENERATOR, dtype=torch.uint8)
TAGS = torch.tensor(
    [[True, False, False], [True, True, False], [False, False, True], [False, False, False]]
)
DATA = ImageStack(IMAGES, TAGS)
CAMS = list(torch.rand(4, 3, 3, 4, generator=GENERATOR) * TAGS[:, :, None, None])
SHORT = replace(
    MICRO,
    decoder=DecoderSize(channels=8, heads=2, blocks=1),
    crops=ScaledCrops(size=48),
    recipe=WarmDescent(steps=4, batch_size=2, warmup=1, learning_rate=0.02),
)
GIVEN = replace(SHORT, initial="given")


def fitted(spec: WeCLIP, cams: list[Tensor] | None = None, seed: int = 0) -> FittedWeCLIP:
    method = spec.build(SETTING)
    method.fit(DATA, cams, seed=seed, report=lambda _done, _steps: None)
    return method


def state(method: FittedWeCLIP) -> Tensor:
    return torch.cat([each.flatten() for each in method.decoder.state_dict().values()])


def test_the_values_of_the_publication_differ_where_they_say() -> None:
    assert WeCLIP() == VOC
    assert VOC.selection_start * VOC.recipe.steps == 9144
    assert PAPER.selection.rule == "paper"
    assert replace(PAPER, selection=VOC.selection, inputs="but-last", selection_start=0.5) == (
        replace(VOC, selection_start=0.5)
    )
    assert COCO.maps.source.affinity is not None
    assert COCO.maps.source.affinity.box_threshold == 0.7
    assert replace(COCO.maps.source.affinity, blocks=COCO.selection.blocks).last_blocks(12) == 10


def test_images_without_tags_get_probabilities() -> None:
    method = fitted(SHORT)
    for size in ((48, 64), (33, 70), (9, 12)):
        probabilities = method.probabilities(IMAGES[:2, :, : size[0], : size[1]])
        assert probabilities.shape == (2, 4, min(size[0], 48), min(size[1], 64))
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]))
        assert not probabilities.requires_grad


def test_the_probabilities_of_a_mirror_image_are_mirrored() -> None:
    method = fitted(SHORT)
    mirrored = method.probabilities(IMAGES.flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, method.probabilities(IMAGES), atol=1e-5, rtol=0)


def test_scores_are_the_probabilities_of_the_tags() -> None:
    method = fitted(SHORT)
    scores = method.scores(IMAGES, TAGS, torch.stack(CAMS))
    expected = method.probabilities(IMAGES)
    torch.testing.assert_close(scores[:, 0], expected[:, 0])
    torch.testing.assert_close(scores[:, 1:][TAGS], expected[:, 1:][TAGS])
    assert not scores[:, 1:][~TAGS].any()


def test_only_the_decoder_learns() -> None:
    method = fitted(SHORT)
    assert not torch.equal(state(method), state(SHORT.build(SETTING)))
    tower = list(method.clip.image.parameters()) + list(method.clip.text.parameters())
    assert all(each.grad is None and not each.requires_grad for each in tower)
    assert all(each.grad is not None for each in method.decoder.parameters())
    counts = method.parameter_counts()
    assert counts["decoder"]["total"] == counts["decoder"]["trainable"]
    assert counts["image tower"]["trainable"] == counts["text tower"]["trainable"] == 0


def test_the_learnt_affinity_takes_part_from_its_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    attention = LearntMaps.attention

    def watched(maps: LearntMaps, trace: TokenTrace, affinity: Tensor | None) -> Tensor:
        seen.append(affinity is not None)
        assert affinity is None or not affinity.requires_grad
        return attention(maps, trace, affinity)

    monkeypatch.setattr(LearntMaps, "attention", watched)
    fitted(replace(SHORT, selection_start=0.75))
    assert seen == [False, False, False, True]


def test_a_training_that_is_stopped_ends_with_the_same_bits(tmp_path: Path) -> None:
    done: list[int] = []

    def press(step: int, _steps: int) -> None:
        done.append(step)
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(3):  # Ctrl-C in step 2, to the end, and once more
        method = SHORT.build(SETTING)
        method.states = tmp_path
        with suppress(KeyboardInterrupt):
            method.fit(DATA, seed=0, report=press)
    assert done == [1, 3, 4]  # nothing twice; step 2 was saved and not reported
    assert torch.equal(state(method), state(fitted(SHORT)))


def test_given_maps_are_learnt_from_and_own_ones_do_not_look_at_them() -> None:
    other = [1 - each for each in CAMS]
    assert torch.equal(state(fitted(SHORT, CAMS)), state(fitted(SHORT)))
    assert torch.equal(state(fitted(GIVEN, CAMS)), state(fitted(GIVEN, CAMS)))
    assert not torch.equal(state(fitted(GIVEN, CAMS)), state(fitted(GIVEN, other)))
    assert not torch.equal(state(fitted(GIVEN, CAMS)), state(fitted(SHORT)))


@pytest.mark.parametrize("cams", [None, CAMS[:2]])
def test_absent_maps_are_refused(cams: list[Tensor] | None) -> None:
    with pytest.raises(ValueError, match="a map for each of 4 images"):
        fitted(GIVEN, cams)


def test_data_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 classes, got 2"):
        SHORT.build(SETTING).fit(
            ImageStack(IMAGES, TAGS[:, :2]), seed=0, report=lambda _done, _steps: None
        )


@pytest.mark.parametrize(
    "maps",
    [
        replace(clip_es.MICRO, scales=(1.0, 2.0)),
        replace(clip_es.MICRO, mirror="also"),
        replace(clip_es.MICRO, source=replace(clip_es.MICRO.source, affinity=None)),
    ],
)
def test_maps_that_cannot_be_refined_are_refused(maps: clip_es.ClipES) -> None:
    with pytest.raises(ValueError, match=r"start from clip_es\.VOC"):
        replace(MICRO, maps=maps)


def test_all_blocks_may_be_fused_and_colours_may_be_imagenets() -> None:
    every = replace(SHORT, inputs="all").build(SETTING)
    assert len(every.decoder.projections) == every.clip.image.depth
    assert every.probabilities(IMAGES).shape == (4, 4, 48, 64)
    ours, theirs = (replace(SHORT, colours=each).build(SETTING) for each in ("clip", "imagenet"))
    assert not torch.allclose(ours.normalised(IMAGES), theirs.normalised(IMAGES), atol=0.1)


def test_a_map_is_as_high_on_the_cells_of_a_view_as_on_its_pixels() -> None:
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 0, 5, 2], maps[0, 1, 0, 0] = 0.8, 1.0
    cells = on_cells(maps, 2)
    assert cells[0].flatten(1).tolist() == [[0, 0, pytest.approx(0.8), 0], [1, 0, 0, 0], [0] * 4]
