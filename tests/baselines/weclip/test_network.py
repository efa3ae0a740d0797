from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.weclip.network import (
    Decoder,
    DecoderSize,
    affinity_loss,
    averaged_logits,
    balanced_cross_entropy,
    field_affinity,
    pair_labels,
)

torch.set_num_threads(1)
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 5, generator=GENERATOR)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def small() -> Decoder:
    torch.manual_seed(0)
    return Decoder(DecoderSize(channels=8, heads=2, blocks=1), width=6, inputs=2, labels=3)


def test_the_decoder_of_voc_has_six_million_weights() -> None:
    decoder = Decoder(DecoderSize(), width=768, inputs=11, labels=21)
    assert sum(each.numel() for each in decoder.parameters()) == 5_985_045


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the 3 heads"):
        DecoderSize(channels=8, heads=3)


def test_the_class_token_has_no_place_in_the_field() -> None:
    decoder, tokens = small().eval(), [drawn(2, 1 + 20, 6) for _ in range(2)]
    field = decoder.field(tokens, (4, 5))
    assert field.shape == (2, 8, 4, 5)
    assert decoder.logits(field).shape == (2, 3, 4, 5)
    others = [torch.cat([drawn(2, 1, 6), each[:, 1:]], dim=1) for each in tokens]
    torch.testing.assert_close(decoder.field(others, (4, 5)), field)


def test_whole_channels_of_the_field_are_dropped_while_training() -> None:
    decoder, tokens = small().train(), [drawn(64, 1 + 4, 6) for _ in range(2)]
    field = decoder.field(tokens, (2, 2))
    dropped = (field == 0).all(dim=(2, 3))
    assert 0 < int(dropped.sum()) < 0.3 * dropped.numel()
    assert torch.equal((field == 0).any(dim=(2, 3)), dropped)


def test_the_affinity_is_symmetric_and_follows_the_patches() -> None:
    field = drawn(2, 8, 3, 4)
    affinity = field_affinity(field)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2))
    squares = field.flatten(2).square().sum(dim=1).sigmoid()
    torch.testing.assert_close(affinity.diagonal(dim1=1, dim2=2), squares)
    assert float(squares.min()) >= 0.5
    order = torch.randperm(12, generator=GENERATOR)
    moved = field_affinity(torch.unflatten(field.flatten(2)[:, :, order], 2, (3, 4)))
    torch.testing.assert_close(moved, affinity[:, order][:, :, order])


def test_background_and_foreground_pixels_count_half_each() -> None:
    labels = torch.tensor([[[0, 0, 0, 0], [0, 0, 2, 255]]])
    logits = drawn(1, 3, 2, 4)
    losses = -logits.log_softmax(dim=1)
    expected = (losses[0, 0][labels[0] == 0].mean() + losses[0, 2, 1, 2]) / 2
    torch.testing.assert_close(balanced_cross_entropy(logits, labels), expected)
    twice = balanced_cross_entropy(
        torch.cat([logits, logits[:, :, :1]], dim=2), torch.cat([labels, labels[:, :1]], dim=1)
    )
    halves = -logits.log_softmax(dim=1)[0, 0]
    background = torch.cat([halves, halves[:1]])[torch.cat([labels, labels[:, :1]], 1)[0] == 0]
    torch.testing.assert_close(twice, (background.mean() + losses[0, 2, 1, 2]) / 2)


@pytest.mark.parametrize("label", [0, 1, 255])
def test_a_loss_without_background_or_foreground_is_finite(label: int) -> None:
    logits = LOGITS.clone().requires_grad_()
    labels = torch.full((2, 8, 10), label)
    loss = balanced_cross_entropy(logits, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    if label == 255:
        assert float(loss.detach()) == 0
    else:
        resized = F.interpolate(LOGITS, (8, 10), mode="bilinear")
        expected = F.cross_entropy(resized, labels) / 2
        torch.testing.assert_close(loss.detach(), expected)


def test_pairs_are_near_sure_and_of_the_first_pixel_of_each_patch() -> None:
    labels = torch.zeros(1, 8, 12, dtype=torch.int64)
    labels[0, 4:, 4:] = 2  # patches of 4 pixels: grid of 2 x 3
    labels[0, 1, 1] = 7  # not the first of its patch
    labels[0, 0, 8] = 255
    grid = torch.tensor([0, 0, 255, 0, 2, 2])
    alike, different = pair_labels(labels, (2, 3), radius=1)
    for one in range(6):
        for other in range(6):
            near = max(abs(one // 3 - other // 3), abs(one % 3 - other % 3)) <= 1
            used = near and 255 not in (int(grid[one]), int(grid[other]))
            assert bool(alike[0, one, other]) == (used and bool(grid[one] == grid[other]))
            assert bool(different[0, one, other]) == (used and bool(grid[one] != grid[other]))


def test_the_affinity_loss_is_linear_and_0_for_the_labels_of_the_pairs() -> None:
    labels = torch.randint(0, 3, (2, 8, 8), generator=GENERATOR)
    alike, different = pair_labels(labels, (4, 4), radius=2)
    assert float(affinity_loss(alike.float(), alike, different)) == 0
    wrong = affinity_loss(different.float(), alike, different)
    counts = alike.sum(), different.sum()
    torch.testing.assert_close(wrong, sum(count / (count + 1) for count in counts) / 2)
    affinity = field_affinity(drawn(2, 5, 4, 4))
    loss = affinity_loss(affinity, alike, different)
    closer = affinity_loss(affinity + 0.1 * alike, alike, different)
    torch.testing.assert_close(loss - closer, 0.05 * counts[0] / (counts[0] + 1))


def test_the_logits_of_the_mirror_image_are_mirrored() -> None:
    kernel = drawn(3, 3, 8, 8)

    def logits(images: Tensor) -> Tensor:
        return F.conv2d(images, kernel, stride=8)

    images = drawn(2, 3, 40, 56)

    def averaged(pixels: Tensor, long_side: int | None = 80) -> Tensor:
        return averaged_logits(logits, pixels, long_side=long_side, scales=(1.0, 0.75), least=8)

    result = averaged(images)
    assert result.shape == (2, 3, 57 // 8, 10)  # 40 * 80 / 56 = 57 pixels
    torch.testing.assert_close(averaged(images.flip(-1)), result.flip(-1), atol=1e-3, rtol=0)
    assert averaged(images, None).shape == (2, 3, 5, 7)
    assert averaged(images[..., :8, :9], None).shape == (2, 3, 1, 1)  # the smaller view as well
