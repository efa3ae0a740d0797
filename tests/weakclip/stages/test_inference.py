from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from tests.weakclip.conftest import NAMES
from weakclip.config import CoAttention, TextGuidedDecoder, WeakCLIPConfig
from weakclip.network.build import build_model
from weakclip.stages.inference import multi_scale_probabilities, slide_logits, windows
from weakclip.training.execution import Execution

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.network.model import WeakCLIP


@pytest.fixture
def model(clip: CLIPBundle) -> WeakCLIP:
    config = WeakCLIPConfig(
        matching=CoAttention(width=16), decoder=TextGuidedDecoder(channels=8), taps=(0, 1, 2, 3)
    )
    return build_model(config, clip, NAMES).eval()


@pytest.mark.parametrize(
    ("length", "starts"),
    [(64, (0,)), (40, (0,)), (65, (0, 1)), (106, (0, 42)), (150, (0, 42, 84, 86))],
)
def test_windows_cover_the_side_and_end_at_the_border(length: int, starts: tuple[int, ...]) -> None:
    assert windows(length, 64, 42) == starts


@pytest.mark.parametrize("stride", [0, 65])
def test_strides_that_leave_gaps_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 64"):
        windows(100, 64, stride)


def test_one_window_is_the_plain_network(model: WeakCLIP, images: Tensor) -> None:
    with torch.no_grad():
        expected = model.segment(images)
    torch.testing.assert_close(slide_logits(model, images, crop=64, stride=32), expected)


def test_windows_are_averaged_where_they_overlap(model: WeakCLIP) -> None:
    images = torch.randn(2, 3, 50, 70)
    total, visits = torch.zeros(2, 4, 50, 70), torch.zeros(1, 1, 50, 70)
    with torch.no_grad():
        for top in (0, 18):
            for left in (0, 20, 38):
                place = (slice(None), slice(None), slice(top, top + 32), slice(left, left + 32))
                total[place] += model.segment(images[place])
                visits[place] += 1
    slid = slide_logits(model, images, crop=32, stride=20, batch=5)
    torch.testing.assert_close(slid, total / visits, atol=1e-5, rtol=1e-4)
    rescaled = slide_logits(model, images, crop=32, stride=20, rescale_to=(25, 90))
    expected = F.interpolate(total / visits, (25, 90), mode="bilinear", align_corners=False)
    torch.testing.assert_close(rescaled, expected, atol=1e-5, rtol=1e-4)


def test_probabilities_sum_to_one_and_mirror_with_the_image(
    model: WeakCLIP, images: Tensor
) -> None:
    options = {"crop": 32, "stride": 16, "scales": (0.5, 1.0)}
    probabilities = multi_scale_probabilities(model, images, **options)  # type: ignore[arg-type]
    assert probabilities.shape == (2, 4, 32, 48)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 48))
    mirrored = multi_scale_probabilities(model, images.flip(-1), **options)  # type: ignore[arg-type]
    torch.testing.assert_close(mirrored.flip(-1), probabilities, atol=1e-5, rtol=1e-4)


def test_one_scale_without_flip_is_the_softmax_of_the_window(
    model: WeakCLIP, images: Tensor
) -> None:
    slid = slide_logits(model, images, crop=32, stride=16)
    probabilities = multi_scale_probabilities(
        model, images, crop=32, stride=16, scales=(1.0,), flip=False
    )
    torch.testing.assert_close(probabilities, slid.softmax(1))


def test_training_mode_and_missing_scales_are_refused(model: WeakCLIP, images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected at least one factor"):
        multi_scale_probabilities(model, images, crop=32, stride=16, scales=())
    with pytest.raises(ValueError, match=r"call `model.eval\(\)`"):
        slide_logits(model.train(), images, crop=32, stride=16)


def test_many_classes_and_views_do_not_fill_the_memory(
    model: WeakCLIP, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    segment = model.segment

    def watched(crops: Tensor, *, text: Tensor) -> Tensor:
        sizes.append(len(crops))
        return segment(crops, text=text)

    monkeypatch.setattr(model, "segment", watched)
    whole = slide_logits(model, images, crop=32, stride=16)
    assert max(sizes) > 2
    sizes.clear()
    monkeypatch.setattr(
        "weakclip.stages.inference.WINDOW_BYTES", 2 * 4 * 4 * 32 * 32
    )  # two windows
    bounded = slide_logits(model, images, crop=32, stride=16)
    assert max(sizes) == 2
    torch.testing.assert_close(bounded, whole, atol=1e-5, rtol=1e-4)


def test_views_are_averaged(model: WeakCLIP, images: Tensor) -> None:
    options = {"crop": 32, "stride": 16}
    views = [
        multi_scale_probabilities(model, images, scales=(scale,), **options)  # type: ignore[arg-type]
        for scale in (0.5, 1.0, 1.5)
    ]
    found = multi_scale_probabilities(model, images, scales=(0.5, 1.0, 1.5), **options)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.stack(views).mean(dim=0))


def test_bfloat16_gives_nearly_the_same_probabilities_in_float32(
    model: WeakCLIP, images: Tensor
) -> None:
    half = Execution(precision="bfloat16")
    options = {"crop": 32, "stride": 16, "scales": (1.0, 1.5)}
    expected = multi_scale_probabilities(model, images, **options)  # type: ignore[arg-type]
    found = multi_scale_probabilities(model, images, execution=half, **options)  # type: ignore[arg-type]
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 32, 48))
