from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weakclip.clip.load import load_clip
from weakclip.convnet.backbone import MICRO_BACKBONE
from weakclip.convnet.classifier import CAM, Classifier, GradCAM, TagNetwork, gradient_maps
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.training.descent import Descent
from weakclip.training.views import Framing

TINY = replace(MICRO_BACKBONE, weights=None, channels=(8, 8, 16, 16))
SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("red", "green", "blue"),
    background_words=("sky",),
    device=torch.device("cpu"),
)
IMAGES = torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(0))
TAGS = torch.tensor([[True, False, True], [False, True, False], [True, True, True]])


def network() -> TagNetwork:
    torch.manual_seed(0)
    return TagNetwork(TINY, 3).eval()


def one_pair(net: TagNetwork, image: int, label: int, stage: int) -> Tensor:
    """Grad-CAM the usual way: one image, one class, hooks and a backward pass of everything."""
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = list(net.stages.parts)[stage].register_forward_hook(keep)
    net(IMAGES[image : image + 1])[0, label].backward()
    handle.remove()
    gradient = kept[0].grad
    assert gradient is not None
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * kept[0].detach()).sum(dim=1)[0].relu()


@pytest.mark.parametrize("stage", [-1, -2, -3])
def test_gradient_maps_are_those_of_one_pair_at_a_time(stage: int) -> None:
    net = network()
    maps = gradient_maps(net, IMAGES, TAGS, stage)
    scale = float(maps.amax())
    assert scale > 0
    for image, label in TAGS.nonzero().tolist():
        expected = one_pair(net, image, label, stage)
        assert torch.allclose(maps[image, label], expected, atol=1e-5 * scale)
    assert not maps[~TAGS].any()


def test_at_the_last_stage_the_gradient_gives_cam_over_the_number_of_cells() -> None:
    net = network()
    maps = gradient_maps(net, IMAGES, TAGS, stage=-1)
    with torch.no_grad():
        linear = net.head(net.stages(IMAGES)[-1]).relu()
    cells = maps.shape[2] * maps.shape[3]
    assert torch.allclose(maps[TAGS] * cells, linear[TAGS], rtol=1e-4, atol=1e-6)
    config = Classifier(backbone=TINY)
    pixels = torch.randint(0, 256, (3, 3, 48, 64), dtype=torch.uint8)
    cam = CAM(classifier=config, scales=(1.0,)).build(SETTING).cams(pixels, TAGS)
    gradient = GradCAM(classifier=config, stage=-1).build(SETTING).cams(pixels, TAGS)
    assert torch.allclose(cam, gradient, atol=2e-2)  # the constant under the maximum differs


def test_logits_are_the_means_of_the_maps() -> None:
    net = network()
    maps = net.head(net.stages(IMAGES)[-1])
    assert torch.allclose(net(IMAGES), maps.mean(dim=(2, 3)), atol=1e-6)
    assert net.head.bias is None


@pytest.mark.parametrize("stage", [-1, -2])
def test_a_class_without_positive_evidence_has_a_map_of_zeros(stage: int) -> None:
    net = network()
    with torch.no_grad():
        net.head.weight[1] = -net.head.weight[1].abs()  # activations after a ReLU are >= 0
    maps = gradient_maps(net, IMAGES, TAGS, stage=-1)
    assert not maps[:, 1].any()
    with torch.no_grad():
        net.head.weight[1] = 0
    maps = gradient_maps(net, IMAGES, TAGS, stage=stage)
    assert not maps[:, 1].any()
    assert bool(torch.isfinite(maps).all())


def test_the_mirror_image_has_the_mirrored_maps() -> None:
    pixels = torch.randint(
        0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    masker = CAM(classifier=Classifier(backbone=TINY), scales=(1.0, 0.5)).build(SETTING)
    plain, mirrored = masker.cams(pixels, TAGS[:2]), masker.cams(pixels.flip(3), TAGS[:2])
    assert float(plain.max()) > 0.9
    assert torch.allclose(mirrored, plain.flip(3), atol=1e-4)


def coloured(count: int) -> ImageStack:
    """Squares of three colours on grey; the tag is the colour."""
    generator = torch.Generator().manual_seed(2)
    images = torch.full((count, 3, 32, 32), 110, dtype=torch.uint8)
    images += torch.randint(0, 20, images.shape, generator=generator, dtype=torch.uint8)
    tags = torch.zeros(count, 3, dtype=torch.bool)
    for row in range(count):
        top, left = torch.randint(0, 16, (2,), generator=generator).tolist()
        images[row, row % 3, top : top + 16, left : left + 16] = 255
        tags[row, row % 3] = True
    return ImageStack(images, tags)


def test_training_learns_the_tags_and_where_they_come_from() -> None:
    data = coloured(48)
    config = CAM(
        classifier=Classifier(
            backbone=TINY,
            recipe=Descent(epochs=12, batch_size=8, learning_rate=0.1, head_factor=1),
            framing=Framing(size=32, ratio=(1, 1)),
        ),
        scales=(1.0,),
    )
    masker = config.build(SETTING)
    steps: list[tuple[int, int]] = []
    masker.fit(data, seed=0, report=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (72, 72)
    test = coloured(30)
    cams = masker.cams(test.images, test.image_labels)[test.image_labels]
    places = test.images.amax(dim=1)[:, 4::8, 4::8] == 255  # the centre of each cell
    inside = (cams * places).sum() / places.sum()
    outside = (cams * ~places).sum() / (~places).sum()
    assert float(inside) > 2 * float(outside)


def test_an_early_stage_must_be_counted_from_the_end() -> None:
    with pytest.raises(ValueError, match="stage: expected -1"):
        GradCAM(stage=0)
