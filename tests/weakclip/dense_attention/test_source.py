"""Training-free dense CLIPs from images and tags to maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from tests.elsewhere import elsewhere
from weakclip.clip.dense import VALUE_PATH, dense_tokens
from weakclip.clip.load import load_clip
from weakclip.dense_attention.methods import METHODS, MICRO, VOC
from weakclip.dense_attention.scores import FeatureSurgery, PresentSoftmax, Similarities
from weakclip.dense_attention.source import DenseAttention, Resize, Windows, averaged, resized
from weakclip.network.prompts import encode_ensemble
from weakclip.stages.protocols import Setting
from weakclip.training.views import normalise_images

CLIP = load_clip("random-micro")
NAMES, WORDS = ("dog", "cat", "sofa"), ("grass", "sky")
SETTING = Setting(clip=CLIP, class_names=NAMES, background_words=WORDS, device=torch.device("cpu"))
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (2, 3, 64, 96), generator=GENERATOR, dtype=torch.uint8)
TAGS = torch.tensor([[True, False, True], [True, False, False]])
MASKCLIP = MICRO["maskclip"]


def test_maps_are_the_softmax_of_changed_patches_over_tags_and_background() -> None:
    texts = encode_ensemble(CLIP.text, CLIP.tokenize, (*NAMES, *WORDS), MASKCLIP.templates)
    texts = F.normalize(texts, dim=1)
    trace = CLIP.image.forward_tokens(normalise_images(IMAGES, CLIP.mean, CLIP.std))
    _, dense = CLIP.image.read_out(dense_tokens(CLIP.image, trace, VALUE_PATH), trace.grid)
    chosen = texts[[0, 2, 3, 4]]  # image 0 is tagged with classes 0 and 2
    patches = F.normalize(dense[0].flatten(1).T, dim=1)
    chances = (CLIP.logit_scale * patches @ chosen.T).softmax(dim=1)[:, :2].T
    low, high = chances.amin(1, keepdim=True), chances.amax(1, keepdim=True)
    cams = MASKCLIP.build(SETTING).cams(IMAGES, TAGS)
    expected = ((chances - low) / (high - low)).view(2, 4, 6)
    assert torch.allclose(cams[0, [0, 2]], expected, atol=1e-3)


def test_every_method_has_maps_of_its_own() -> None:
    found = {name: method.build(SETTING).cams(IMAGES, TAGS) for name, method in MICRO.items()}
    names = list(found)
    for index, name in enumerate(names):
        for other in names[:index]:
            assert not torch.allclose(found[name], found[other], atol=1e-2), (name, other)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("colours", "imagenet"),
        ("positions", "bicubic"),
        ("positions", "antialiased"),
        ("background", ("road",)),
        ("class_phrases", (("dog", "horse"), ("cat",), ("sofa", "chair"))),
        ("templates", ("a photo of a {}.", "a {}")),
    ],
)
def test_every_choice_moves_the_maps(field: str, value: object) -> None:
    before = MASKCLIP.build(SETTING).cams(IMAGES, TAGS)
    changed = replace(MASKCLIP, **{field: value})  # type: ignore[arg-type]
    after = changed.build(SETTING).cams(IMAGES, TAGS)
    assert not torch.allclose(before, after, atol=1e-4)


def test_a_name_that_is_the_class_itself_changes_nothing() -> None:
    named = replace(MASKCLIP, class_phrases=tuple((name,) for name in NAMES), background=WORDS)
    expected = MASKCLIP.build(SETTING).cams(IMAGES, TAGS)
    assert torch.equal(named.build(SETTING).cams(IMAGES, TAGS), expected)


@pytest.mark.parametrize(
    ("resize", "size", "grid"),
    [
        (None, (64, 96), (4, 6)),
        (Resize(short_side=128), (64, 96), (8, 12)),
        (Resize(short_side=80, proportions="square"), (64, 96), (5, 5)),
        (None, (10, 41), (1, 3)),
    ],
)
def test_images_are_resized_to_whole_patches(
    resize: Resize | None, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    images = IMAGES[..., : size[0], : size[1]]
    cams = replace(MASKCLIP, resize=resize).build(SETTING).cams(images, TAGS)
    assert cams.shape[2:] == grid


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    pixels = IMAGES.float()
    assert resized(pixels, Resize(short_side=64), 16) is pixels


def test_one_window_that_holds_the_image_is_the_whole_image() -> None:
    whole = MICRO["gem"].build(SETTING).cams(IMAGES, TAGS)
    seen = replace(MICRO["gem"], windows=Windows(size=200, stride=100))
    cams = seen.build(SETTING).cams(IMAGES, TAGS)
    assert cams.shape == (2, 3, 64, 96)
    large = F.interpolate(whole, (64, 96), mode="bilinear")  # stretched before, there after it
    low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
    expected = (large - low) / (high - low).clamp(min=1e-6)
    torch.testing.assert_close(cams, expected, atol=1e-4, rtol=1e-4)


def test_windows_are_averaged_where_they_overlap_and_cover_all() -> None:
    seen = []

    def look(part: torch.Tensor) -> Similarities:
        seen.append(float(part[0, 0, 0, 0]))
        value = torch.full((1, 1, 2, 2), float(len(seen)))
        return Similarities(image=value[:, :, 0, 0], patches=value)

    pixels = torch.arange(10.0).expand(1, 3, 6, 10)
    found = averaged(look, pixels, Windows(size=6, stride=3))
    assert seen == [0.0, 3.0, 4.0]  # the last window ends at the border
    first, second, third = 1.0, 2.0, 3.0
    row = [first] * 3 + [(first + second) / 2] + [(first + second + third) / 3] * 2
    row += [(second + third) / 2] * 3 + [third]
    torch.testing.assert_close(found.patches[0, 0, 2], torch.tensor(row))
    assert float(found.image) == 2


def test_a_constant_map_stays_constant_under_windows() -> None:
    constant = Similarities(image=torch.ones(1, 2), patches=torch.full((1, 2, 3, 3), 0.7))
    found = averaged(lambda _: constant, torch.zeros(1, 3, 50, 70), Windows(size=32, stride=20))
    torch.testing.assert_close(found.patches, torch.full((1, 2, 50, 70), 0.7))


def test_micro_methods_fit_a_tower_of_half_the_depth() -> None:
    assert {METHODS[name].change.blocks for name in ("gem", "clip-surgery", "excel")} == {5, 6}
    assert {MICRO[name].change.blocks for name in ("gem", "clip-surgery", "excel")} == {3}
    for name, method in METHODS.items():
        assert replace(MICRO[name].change, blocks=method.change.blocks) == method.change


def test_methods_that_end_in_a_softmax_differ_from_maskclip_in_attention_and_scale_alone() -> None:
    for name in ("sclip", "clearclip", "naclip"):
        same = replace(MICRO[name], change=MASKCLIP.change, scores=MASKCLIP.scores)
        assert replace(same, positions=MASKCLIP.positions) == MASKCLIP


def test_releases_have_a_phrase_or_more_for_each_class_of_voc() -> None:
    assert all(len(method.class_phrases or ()) == 20 for method in VOC.values())
    people = (VOC["sclip"].class_phrases or ())[14]
    assert (len(people), people[0]) == (7, "person")
    assert len(VOC["naclip"].background or ()) == 26


def test_unusable_choices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sentences with one '\{\}' each"):
        DenseAttention(templates=("a photo",))
    with pytest.raises(ValueError, match="short_side: expected 1"):
        Resize(short_side=0)
    with pytest.raises(ValueError, match=r"stride: expected 1 to 4 \(the size\), got 5"):
        Windows(size=4, stride=5)
    with pytest.raises(ValueError, match="one name or more for each class"):
        DenseAttention(class_phrases=(("dog",), ()))
    with pytest.raises(ValueError, match="key_smoothing: expected no windows"):
        DenseAttention(scores=PresentSoftmax(key_smoothing=1.0), windows=Windows())
    with pytest.raises(ValueError, match="class_phrases: expected 3, one for each class, got 1"):
        replace(MASKCLIP, class_phrases=(("dog",),)).build(SETTING)
    with pytest.raises(ValueError, match="background: expected one word or more"):
        replace(MASKCLIP, scores=FeatureSurgery(), background=()).build(SETTING)


@pytest.mark.parametrize("name", MICRO)
def test_another_device_gives_the_same_maps(name: str) -> None:
    expected = MICRO[name].build(SETTING).cams(IMAGES, TAGS)
    seen = replace(MICRO[name], windows=Windows(size=48, stride=16))
    in_windows = seen.build(SETTING).cams(IMAGES, TAGS)
    with elsewhere() as there:
        setting = replace(SETTING, clip=load_clip("random-micro", device=there), device=there)
        images, tags = IMAGES.to(there), TAGS.to(there)
        found = MICRO[name].build(setting).cams(images, tags).cpu()
        found_in_windows = seen.build(setting).cams(images, tags).cpu()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_in_windows, in_windows, atol=1e-4, rtol=1e-4)
