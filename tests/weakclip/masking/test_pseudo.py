from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import weakclip
from tests.weakclip.masking.conftest import CLIP
from weakclip.masking.plan import plan_for


def test_an_image_and_its_tags_become_labels_of_its_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    found = weakclip.pseudo_mask(Image.fromarray(pixels), ["cat", "dog", "cat"], CLIP)
    assert found.class_names == ("cat", "dog")
    assert found.labels.shape == (70, 90)
    assert found.labels.dtype == np.uint8
    assert np.array_equal(found.labels, found.scores.argmax(axis=0))
    again = weakclip.pseudo_mask(pixels, ["cat", "dog"], CLIP)
    assert np.array_equal(again.labels, found.labels)
    flipped = weakclip.pseudo_mask(pixels[:, :, ::-1], ["cat"], CLIP)  # as OpenCV users write it
    assert flipped.labels.shape == (70, 90)


def test_what_is_no_image_and_no_tag_is_refused() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(TypeError, match="expected several names"):
        weakclip.pseudo_mask(pixels, "cat", CLIP)
    with pytest.raises(ValueError, match="expected 1 to 254 different names, got 0"):
        weakclip.pseudo_mask(pixels, [], CLIP)
    with pytest.raises(TypeError, match="got float64"):
        weakclip.pseudo_mask(pixels / 255, ["cat"], CLIP)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a method that trains nothing"):
        weakclip.pseudo_mask(pixels, ["cat"], CLIP, plan=plan_for(CLIP, "weakclip"))
    plan = plan_for(CLIP)
    without = replace(plan, method=replace(plan.method, crf=None))
    assert weakclip.pseudo_mask(pixels, ["cat"], CLIP, plan=without).scores.shape == (2, 40, 40)
