"""Mean field by compiled loops against the same by torch's operators."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.weakclip.crf.conftest import torch_alone
from tests.weakclip.crf.test_dense import ALIKE, NEAR, smooth
from weakclip.crf.dense import (
    PSA,
    WEAKCLIP_TRAIN,
    WEAKCLIP_VOC,
    Bilateral,
    CRFConfig,
    build_lattices,
    dense_crf,
    mean_field,
    unary_from_probs,
)

pytest.importorskip("numba")

from weakclip.crf.compiled import engine
from weakclip.crf.compiled import mean_field as loops

THREE = CRFConfig(terms=(NEAR, ALIKE, Bilateral(sxy=30, srgb=5, weight=-0.5)), iterations=3)


def by_torch(
    images: torch.Tensor, probs: torch.Tensor, config: CRFConfig = WEAKCLIP_TRAIN
) -> torch.Tensor:
    with torch_alone():
        return dense_crf(images, probs, config)


def check(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    difference = (ours - theirs).abs()
    assert float(difference.max()) < 1e-3  # ten updates amplify rounding where labels are tied
    assert float(difference.mean()) < 1e-6


@pytest.mark.parametrize("labels", [1, 2, 4, 5, 8, 9, 16, 17, 24, 25, 81])
def test_any_number_of_labels(labels: int) -> None:
    images, probs = smooth(2, labels, 19, 23)
    check(dense_crf(images, probs, WEAKCLIP_TRAIN), by_torch(images, probs))


@pytest.mark.parametrize("iterations", [0, 1, 3])
@pytest.mark.parametrize("terms", [1, 2, 3])
def test_any_number_of_terms_and_iterations(terms: int, iterations: int) -> None:
    images, probs = smooth(2, 3, 20, 21)
    config = CRFConfig(terms=THREE.terms[:terms], iterations=iterations)
    check(dense_crf(images, probs, config), by_torch(images, probs, config))


@pytest.mark.parametrize("many", [0, 1 << 18])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_pieces_of_an_image_are_the_image(
    monkeypatch: pytest.MonkeyPatch, threads: int, many: int
) -> None:
    images, probs = smooth(2, 6, 31, 27)
    expected = by_torch(images, probs, WEAKCLIP_VOC)
    monkeypatch.setattr("weakclip.crf.compiled.spread._PIECE", 100)
    monkeypatch.setattr(loops, "_MANY", many)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    together = dense_crf(images, probs, WEAKCLIP_VOC)
    check(together, expected)
    alone = [dense_crf(images[i, None], probs[i, None], WEAKCLIP_VOC) for i in range(2)]
    assert torch.equal(together, torch.cat(alone))


def test_images_are_spread_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    images, probs = smooth(7, 4, 20, 22)
    expected = by_torch(images, probs)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    check(dense_crf(images, probs, WEAKCLIP_TRAIN), expected)


def test_pixels_along_a_curve() -> None:
    images, probs = smooth(1, 4, 140, 130)  # 18,200 pixels are not in the order of the image
    check(dense_crf(images, probs, PSA), by_torch(images, probs, PSA))


def test_energies_need_not_be_contiguous() -> None:
    images, probs = smooth(2, 4, 20, 22)
    turned = unary_from_probs(probs).transpose(2, 3).contiguous().transpose(2, 3)
    found = mean_field(turned, build_lattices(images, PSA), PSA)
    check(found, by_torch(images, probs, PSA))


@pytest.mark.parametrize("iterations", [0, 2])
def test_marginals_may_take_the_memory_of_the_unary(iterations: int) -> None:
    images, probs = smooth(2, 4, 20, 22)
    config = replace(PSA, iterations=iterations)
    unary, lattices = unary_from_probs(probs), build_lattices(images, config)
    expected = mean_field(unary, lattices, config)
    turned = unary.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(mean_field(turned, lattices, config, overwrite_unary=True), expected)
    found = mean_field(unary, lattices, config, overwrite_unary=True)
    assert found.data_ptr() == unary.data_ptr()
    assert torch.equal(found, expected)


def test_lattices_kept_by_torch_serve_loops_and_the_other_way_round() -> None:
    images, probs = smooth(3, 4, 20, 22)
    expected = dense_crf(images, probs, WEAKCLIP_VOC)
    made = build_lattices(images, WEAKCLIP_VOC)
    unary = unary_from_probs(probs)
    with torch_alone():
        sorted_ones = build_lattices(images, WEAKCLIP_VOC)
        check(mean_field(unary, [made[i] for i in range(3)], WEAKCLIP_VOC), expected)
        check(mean_field(unary, [made[0], sorted_ones[1], made[2]], WEAKCLIP_VOC), expected)
    assert made.nbytes < sorted_ones.nbytes
    check(mean_field(unary, sorted_ones, WEAKCLIP_VOC), expected)
    check(mean_field(unary, [made[0], sorted_ones[1], made[2]], WEAKCLIP_VOC), expected)


@pytest.mark.parametrize("far", [200.0, 1e5])
def test_unlikely_labels_get_nothing(far: float) -> None:
    images, _ = smooth(1, 1, 9, 11)
    unary = torch.zeros(1, 3, 9, 11)
    unary[:, 1] = far
    unary[:, 2] = 60.0  # 2^-87
    config = replace(PSA, iterations=0)
    found = mean_field(unary, build_lattices(images, config), config)
    torch.testing.assert_close(found[:, 2], torch.softmax(-unary, 1)[:, 2], rtol=1e-5, atol=0)
    assert not found[:, 1].any()
    torch.testing.assert_close(found.sum(1), torch.ones(1, 9, 11))


def test_matrices_and_double_precision_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    images, probs = smooth(1, 3, 9, 11)
    monkeypatch.setattr(engine, "infer", None)
    matrix = replace(NEAR, weight=((0.0, 1.0, 2.0), (1.0, 0.0, 1.0), (2.0, 1.0, 0.0)))
    for some, config in ((probs, CRFConfig(terms=(matrix,))), (probs.double(), PSA)):
        assert bool(dense_crf(images, some, config).isfinite().all())
    assert bool(dense_crf(images, probs, CRFConfig(terms=())).isfinite().all())
