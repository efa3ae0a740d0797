from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from baselines.confidence import ConfidentCRF, confident_labels, wrapped
from weakclip.clip.load import load_clip
from weakclip.crf.dense import CRFConfig, Gaussian
from weakclip.stages.protocols import Setting

torch.set_num_threads(1)

SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("dog", "cat", "sofa"),
    background_words=("grass",),
    device=torch.device("cpu"),
)
RAMP = torch.linspace(95, 135, 30).byte()  # across the mean colour that the release subtracts
IMAGES = RAMP.expand(2, 3, 24, 30).contiguous()
LABELS = torch.tensor([[True, False, True], [False, True, False]])
CAMS = torch.rand(2, 3, 3, 4, generator=torch.Generator().manual_seed(1)) * LABELS[:, :, None, None]
SPECS = (
    ConfidentCRF(),
    ConfidentCRF(colours="wrapped"),
    ConfidentCRF(precision="half"),
)


@pytest.mark.parametrize("spec", SPECS, ids=range(3))
def test_marginals_sum_to_one_over_the_known_labels(spec: ConfidentCRF) -> None:
    scores = spec.build(SETTING).scores(IMAGES, LABELS, CAMS)
    assert scores.shape == (2, 4, 24, 30)
    assert torch.allclose(scores.sum(dim=1), torch.ones(2, 24, 30), atol=1e-5)
    assert not scores[:, 1:][~LABELS].any()


def test_every_switch_moves_the_marginals() -> None:
    first, *others = (spec.build(SETTING).scores(IMAGES, LABELS, CAMS) for spec in SPECS)
    wrapped_colours, half_precision = (float((first - other).abs().max()) for other in others)
    assert wrapped_colours > 1e-2
    assert 1e-6 < half_precision < 1e-2


def test_labels_are_known_ones_or_undecided() -> None:
    spec = ConfidentCRF(confidence=0.8)
    labels = spec.labels(spec.build(SETTING).scores(IMAGES, LABELS, CAMS))
    assert labels.dtype == torch.int64
    assert set(labels[0].flatten().tolist()) <= {0, 1, 3, 255}
    assert set(labels[1].flatten().tolist()) <= {0, 2, 255}
    assert bool((labels == 255).any())


def test_more_confidence_never_decides_a_pixel() -> None:
    marginals = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
    undecided = [confident_labels(marginals, confidence=c) == 255 for c in (0.0, 0.4, 0.45, 1.0)]
    for low, high in pairwise(undecided):
        assert not (low & ~high).any()
    assert [bool(each.any()) for each in undecided] == [False, True, True, True]


def test_the_releases_colours_wrap_around() -> None:
    blue = torch.tensor([0, 103, 104, 105, 255]).byte().view(1, 1, 1, 5).expand(1, 3, 1, 5)
    # minus 104.008, cut towards 0, modulo 256
    assert wrapped(blue)[0, 2, 0].tolist() == [152, 255, 0, 0, 150]


def test_without_terms_the_marginals_are_the_normalised_scores() -> None:
    spec = ConfidentCRF(crf=CRFConfig(terms=(Gaussian(sxy=1, weight=1),), iterations=0))
    cams = torch.full((1, 3, 1, 1), 0.25) * torch.tensor([True, False, False])[None, :, None, None]
    tags = torch.tensor([[True, False, False]])
    scores = spec.build(SETTING).scores(IMAGES[:1], tags, cams)
    assert scores[0, :, 0, 0].tolist() == pytest.approx([0.75, 0.25, 0, 0], abs=1e-5)


def test_a_confidence_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        ConfidentCRF(confidence=95)
