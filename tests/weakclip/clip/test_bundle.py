from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle


def test_bundle_reads_the_sizes_off_the_model(clip: CLIPBundle) -> None:
    assert (clip.patch_size, clip.image_size) == (8, 32)
    assert (clip.image.width, clip.image.embed_dim, clip.text.width) == (32, 16, 24)
    assert math.isclose(clip.logit_scale, 1 / 0.07, rel_tol=1e-5)
    assert clip.tokenize(["a cat"]).shape == (1, 16)
