from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from baselines.clip_es import COCO, MICRO, RELEASED_SOURCE, VOC, ClipES, ClipESMasker
from weakclip.clip.load import load_clip
from weakclip.ops.cam import present_softmax
from weakclip.stages.protocols import Setting
from weakclip.stages.seeds import Affinity, encode_texts, image_logits
from weakclip.training.views import normalise_images

torch.set_num_threads(1)

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass", "sky"),
    device=torch.device("cpu"),
)
IMAGES = torch.randint(
    0, 256, (3, 3, 70, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.tensor([[True, False, False], [True, True, True], [False, False, True]])
RELEASED = replace(MICRO, source=RELEASED_SOURCE)
VARIANTS = (
    MICRO,
    RELEASED,
    replace(MICRO, source=replace(RELEASED_SOURCE, affinity=None)),
    replace(MICRO, source=replace(RELEASED_SOURCE, affinity=Affinity(boxes="whole"))),
    replace(MICRO, positions="exact", scales=(1.0, 1.5), mirror="also"),
)


def build(spec: ClipES) -> ClipESMasker:
    return spec.build(SETTING)


@pytest.mark.parametrize("spec", VARIANTS, ids=range(len(VARIANTS)))
def test_maps_are_normalised_and_only_of_tagged_classes(spec: ClipES) -> None:
    cam = build(spec).cams(IMAGES, LABELS)
    assert cam.shape == ((3, 3, 5, 6) if len(spec.scales) == 1 else (3, 3, 70, 90))
    assert cam.dtype == torch.float32
    assert not cam.requires_grad
    assert float(cam.min()) == 0
    assert float(cam.max()) <= 1
    assert not cam[~LABELS].any()
    assert (cam[LABELS].flatten(1).amax(dim=1) > 0.999).any()


@pytest.mark.parametrize("spec", VARIANTS, ids=range(len(VARIANTS)))
def test_an_images_maps_do_not_depend_on_the_others(spec: ClipES) -> None:
    masker = build(spec)
    cam = masker.cams(IMAGES, LABELS)
    order = [2, 0, 1]
    assert torch.allclose(masker.cams(IMAGES[order], LABELS[order]), cam[order], atol=1e-3)
    assert torch.allclose(masker.cams(IMAGES[1:2], LABELS[1:2]), cam[1:2], atol=1e-3)
    assert torch.equal(masker.cams(IMAGES, LABELS), cam)


def test_the_other_classes_of_an_image_change_a_classs_map_but_their_order_does_not() -> None:
    names = SETTING.class_names[::-1]
    reverse = RELEASED.build(replace(SETTING, class_names=names))
    ours, theirs = build(RELEASED).cams(IMAGES, LABELS), reverse.cams(IMAGES, LABELS.flip(1))
    assert torch.allclose(ours, theirs.flip(1), atol=1e-3)
    alone = build(RELEASED).cams(IMAGES[1:2], LABELS[:1])
    assert not torch.allclose(alone[0, 0], ours[1, 0], atol=1e-2)


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (17, 100)])
def test_images_of_any_size_get_whole_patches(size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    cam = build(RELEASED).cams(images, LABELS[:1])
    assert cam.shape[-2:] == (-(-size[0] // 16), -(-size[1] // 16))
    assert torch.isfinite(cam).all()


def test_one_class_without_background_has_no_gradient_and_no_map() -> None:
    spec = replace(RELEASED, background=())
    assert not build(spec).cams(IMAGES[:1], LABELS[:1]).any()
    assert build(spec).cams(IMAGES[1:2], LABELS[1:2]).any()  # three classes do compete


def test_an_image_without_tags_has_no_maps() -> None:
    assert not build(RELEASED).cams(IMAGES, torch.zeros_like(LABELS)).any()


def test_gradients_of_all_texts_sum_to_zero_and_a_constant_moves_nothing() -> None:
    """A softmax shares out one unit of probability, whatever is added to all logits."""
    clip = SETTING.clip
    texts = encode_texts(clip, SETTING.class_names, SETTING.background_words)
    trace = clip.image.forward_tokens(normalise_images(IMAGES, clip.mean, clip.std))
    tokens = trace.tokens[-2][:1].requires_grad_()
    output = clip.image.last_block(tokens)
    logits = image_logits(clip, output, trace.grid, texts, pooling="patches")
    gradients = [
        [
            torch.autograd.grad(chance, tokens, retain_graph=True)[0]
            for chance in (logits + shift).softmax(dim=1)[0]
        ]
        for shift in (0, 3)
    ]
    largest = max(float(each.abs().max()) for each in gradients[0])
    assert largest > 0
    assert float(torch.stack(gradients[0]).sum(dim=0).abs().max()) < 1e-5 * largest
    for plain, shifted in zip(*gradients, strict=True):
        assert torch.allclose(plain, shifted, atol=1e-5 * largest)


def test_one_backward_pass_gives_each_classs_own_gradient() -> None:
    masker = build(replace(MICRO, source=replace(RELEASED_SOURCE, affinity=None)))
    clip, labels = masker.clip, LABELS[1:2]
    images = normalise_images(IMAGES[1:2, :, :64, :64], clip.mean, clip.std)
    trace = clip.image.forward_tokens(images)
    for label in range(3):
        leaf = clip.image.last_norm(trace.tokens[-2]).detach().requires_grad_()
        output = clip.image.last_block(trace.tokens[-2], leaf)
        logits = image_logits(clip, output, trace.grid, masker.texts, pooling="patches")
        present_softmax(logits, labels)[0, label].backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        cam = (leaf.detach()[0, 1:] @ leaf.grad[0, 1:].mean(dim=0)).relu().view(trace.grid)
        cam = (cam - cam.min()) / (cam - cam.min()).max().clamp(min=1e-30)
        ours = masker.cams(IMAGES[1:2, :, :64, :64], labels)[0, label]
        assert torch.allclose(ours, cam, atol=1e-2)  # the release's 1e-7 in small gradients


def test_texts_are_normalised_and_as_many_as_words() -> None:
    masker = build(MICRO)
    for texts, count in ((masker.texts.foreground, 3), (masker.texts.background, 2)):
        assert texts.shape[0] == count
        assert torch.allclose(texts.norm(dim=1), torch.ones(count), atol=1e-6)


def test_the_configs_of_the_release_hold_its_values() -> None:
    assert VOC.template == "a clean origami {}."
    affinities = [spec.source.affinity for spec in (VOC, COCO)]
    assert [each.box_threshold for each in affinities if each] == [0.4, 0.7]
    assert [each.power for each in affinities if each] == [2, 2]
    assert [len(spec.class_phrases or ()) for spec in (VOC, COCO)] == [20, 80]
    assert [len(spec.background or ()) for spec in (VOC, COCO)] == [25, 23]


def test_what_is_not_possible_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one"):
        ClipES(template="an origami")
    with pytest.raises(ValueError, match="scales"):
        ClipES(scales=())
    with pytest.raises(ValueError, match="expected 3"):
        build(replace(MICRO, class_phrases=("dog",)))
    with pytest.raises(ValueError, match="not in the vocabulary"):
        build(replace(MICRO, background=("okapi",)))
    with pytest.raises(TypeError, match="uint8"):
        build(MICRO).cams(IMAGES.float(), LABELS)


def test_nothing_is_trained() -> None:
    masker = build(MICRO)
    masker.cams(IMAGES, LABELS)
    assert all(counts["trainable"] == 0 for counts in masker.parameter_counts().values())
    assert all(p.grad is None for p in masker.clip.image.parameters())
