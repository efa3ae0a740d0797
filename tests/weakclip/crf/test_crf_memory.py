"""A bound on the memory of a large image, with compiled loops where numba is, and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = """
{before}
import resource, torch
from weakclip.crf.dense import WEAKCLIP_TRAIN, CRFConfig, dense_crf
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
grow = torch.nn.functional.interpolate
image = grow(torch.rand(1, 3, 40, 50, generator=generator) * 255, (1500, 2000), mode="bilinear")
image = (image + torch.randn(image.shape, generator=generator) * 2).clamp(0, 255).to(torch.uint8)
logits = torch.randn(1, {labels}, 20, 30, generator=generator)
probs = grow(logits, (1500, 2000), mode="bilinear").softmax(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
marginals = dense_crf(image, probs, CRFConfig(terms=WEAKCLIP_TRAIN.terms, iterations=1))
assert marginals.isfinite().all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.parametrize("before", ["", "import sys; sys.modules['numba'] = None"])
def test_three_megapixels_with_21_labels_fit_in_three_gigabytes(before: str) -> None:
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", MEMORY.format(labels=21, before=before)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(result.stdout) < 3
