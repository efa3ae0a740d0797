from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.elsewhere import elsewhere
from tests.parity.verify_densecrf import verify
from tests.weakclip.crf.conftest import check_same_vertices
from tests.weakclip.crf.crf_reference import (
    Array,
    exact_kernel,
    features,
    lattice_kernel,
)
from tests.weakclip.crf.crf_reference import (
    mean_field as reference_mean_field,
)
from weakclip.crf.dense import (
    PSA,
    WEAKCLIP_COCO,
    WEAKCLIP_TRAIN,
    WEAKCLIP_VOC,
    Bilateral,
    CRFConfig,
    Gaussian,
    build_lattices,
    dense_crf,
    dense_crf_inference,
    mean_field,
    unary_from_labels,
    unary_from_probs,
)
from weakclip.crf.mean_field_update import _parts

DATA = Path(__file__).parents[2] / "data"
NEAR = Gaussian(sxy=3, weight=3)

ALIKE = Bilateral(sxy=80, srgb=13, weight=10)


pytestmark = pytest.mark.usefixtures("engine")


def golden() -> tuple[Array, Array]:
    """Image (8, 10, 3) and probabilities (3, 8, 10) of the golden vector."""
    y, x, c = np.mgrid[:8, :10, :3]
    image = ((37 * y + 61 * x + 97 * c + 13 * x * y) % 256).astype(np.uint8)
    label, y, x = np.mgrid[:3, :8, :10]
    raw = ((label + 1) * (y + 2) * (x + 3)) % 7 + 1
    return image, (raw / raw.sum(0)).astype(np.float32)


def smooth(
    batch: int, labels: int, height: int, width: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Images with soft regions and noise, and probabilities unrelated to them."""
    generator = torch.Generator().manual_seed(seed)

    def field(channels: int, cells: int) -> Tensor:
        coarse = torch.randn(batch, channels, cells, cells, generator=generator)
        return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")

    noise = torch.randn(batch, 3, height, width, generator=generator) * 3
    images = (field(3, 4) * 60 + 128 + noise).clamp(0, 255).to(torch.uint8)
    return images, (field(labels, 5) * 2).softmax(1)


@pytest.mark.parametrize(
    ("terms", "iterations", "expected"),
    [
        ((NEAR,), 1, (0.385462, 0.333503, 0.330348, 0.331729, 0.282877, 0.501768)),
        ((ALIKE,), 1, (0.383237, 0.311695, 0.360404, 0.196607, 0.272340, 0.611370)),
        ((NEAR, ALIKE), 1, (0.379724, 0.311741, 0.356489, 0.195285, 0.269625, 0.613509)),
        ((NEAR, ALIKE), 2, (0.330574, 0.241556, 0.349486, 0.034889, 0.168797, 0.808148)),
        ((NEAR, ALIKE), 10, (0.000063, 0.000035, 0.000035, 0.000024, 0.003102, 0.996423)),
        (WEAKCLIP_COCO.terms, 1, (0.394971, 0.332496, 0.349754, 0.258944, 0.222101, 0.667155)),
        (WEAKCLIP_COCO.terms, 10, (0.005247, 0.007596, 0.004863, 0.003386, 0.007981, 0.966439)),
    ],
)
def test_golden_vector(
    terms: tuple[Gaussian | Bilateral, ...], iterations: int, expected: tuple[float, ...]
) -> None:
    marginals = dense_crf_inference(*golden(), CRFConfig(terms=terms, iterations=iterations))
    found = [marginals[label, y, x] for y, x in ((0, 0), (3, 4), (7, 9)) for label in (0, 1)]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_marginals_are_those_of_the_reference_library() -> None:
    rows = verify(DATA / "densecrf.npz")
    assert len(rows) == 18
    assert [row.key for row in rows if not row.passed] == []
    assert max(row.max_abs for row in rows) < 5e-4


def test_marginals_are_those_of_an_installed_reference() -> None:
    reference = pytest.importorskip("pydensecrf.densecrf")
    images, probs = smooth(1, 5, 30, 41)
    crf = reference.DenseCRF2D(41, 30, 5)
    crf.setUnaryEnergy(unary_from_probs(probs)[0].reshape(5, -1).numpy())
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(
        sxy=83, srgb=5, rgbim=images[0].permute(1, 2, 0).contiguous().numpy(), compat=3
    )
    theirs = np.array(crf.inference(10)).reshape(5, 30, 41)
    np.testing.assert_allclose(dense_crf(images, probs, WEAKCLIP_VOC)[0], theirs, atol=1e-4)


def test_a_full_matrix_is_a_penalty_and_is_symmetrised() -> None:
    image, probs = golden()
    matrix = ((0.0, 2.0, -1.0), (1.0, 0.5, 3.0), (0.5, 0.0, -2.0))
    config = CRFConfig(terms=(replace(ALIKE, weight=matrix), NEAR), iterations=3)
    points = features(8, 10, 80, image, 13)
    kernels = [
        (lattice_kernel(points)[0], (np.array(matrix) + np.array(matrix).T) / 2),
        (lattice_kernel(features(8, 10, 3, None, 1))[0], -3 * np.eye(3)),
    ]
    expected = reference_mean_field(-np.log(probs.reshape(3, -1)), kernels, 3)
    found = dense_crf_inference(image, probs, config).reshape(3, -1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_weight_is_minus_the_identity_matrix() -> None:
    images, probs = smooth(1, 3, 9, 11)
    matrix = tuple(tuple(-10.0 * (i == j) for j in range(3)) for i in range(3))
    other = replace(PSA, terms=(NEAR, replace(ALIKE, weight=matrix)))
    torch.testing.assert_close(
        dense_crf(images, probs, other), dense_crf(images, probs, PSA), atol=1e-5, rtol=0
    )


def test_the_lattice_is_near_the_exact_gaussian_on_a_smooth_image() -> None:
    images, probs = smooth(1, 2, 24, 32)
    ramp = torch.linspace(40, 60, 32).expand(1, 3, 24, 32) + 150 * (torch.arange(32) > 15)
    image = ramp.to(torch.uint8)
    kernels = [
        (exact_kernel(features(24, 32, 3, None, 1)), -3 * np.eye(2)),
        (
            exact_kernel(features(24, 32, 80, image[0].permute(1, 2, 0).numpy(), 13)),
            -10 * np.eye(2),
        ),
    ]
    unary = unary_from_probs(probs)[0].reshape(2, -1).numpy()
    for iterations, near in ((1, 0.01), (10, 0.02)):
        exact = reference_mean_field(unary, kernels, iterations)
        config = replace(PSA, iterations=iterations)
        found = dense_crf(image, probs, config)[0].reshape(2, -1).numpy()
        assert np.abs(found - exact).mean() < near
        assert (found.argmax(0) == exact.argmax(0)).mean() > 0.99
    assert images.shape == (1, 3, 24, 32)


@pytest.mark.parametrize(("labels", "width"), [(4, 23), (2, 24), (21, 31), (4, 32), (21, 64)])
def test_a_batch_is_its_images(labels: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, probs = smooth(3, labels, 20, width)
    together = dense_crf(images, probs, WEAKCLIP_TRAIN)
    monkeypatch.setattr("weakclip.crf.mean_field._TOGETHER_FLOATS", 0)
    assert torch.equal(dense_crf(images, probs, WEAKCLIP_TRAIN), together)
    for i in range(3):
        alone = dense_crf(images[i : i + 1], probs[i : i + 1], WEAKCLIP_TRAIN)
        assert torch.equal(together[i : i + 1], alone)


@pytest.mark.parametrize(("threads", "values"), [(1, 64), (2, 1 << 15), (2, 3 << 15), (3, 3 << 16)])
def test_images_share_a_range_of_whole_vectors(
    monkeypatch: pytest.MonkeyPatch, threads: int, values: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert _parts(torch.empty(5 * values, 1), 5) == [slice(0, 5 * values)]
    odd = values + 1
    alone = [slice(first, first + odd) for first in range(0, 5 * odd, odd)]
    assert _parts(torch.empty(5 * odd, 1), 5) == alone


def test_a_range_of_two_images_may_have_ends_where_one_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    pixels = 64 * 514  # two threads for one image, three for two of them
    assert len(_parts(torch.empty(2 * pixels, 1), 2)) == 2


def test_kept_lattices_change_nothing() -> None:
    images, probs = smooth(3, 4, 20, 23)
    fresh = dense_crf(images, probs, WEAKCLIP_VOC)
    built = build_lattices(images, WEAKCLIP_VOC)
    assert torch.equal(dense_crf(images, probs, WEAKCLIP_VOC, lattices=built), fresh)
    kept = [part.to("cpu") for part in built]
    order = [2, 0, 1]
    shuffled = dense_crf(
        images[order], probs[order], WEAKCLIP_VOC, lattices=[kept[i] for i in order]
    )
    torch.testing.assert_close(shuffled, fresh[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("keep", [False, True])
def test_absent_labels_are_left_out_exactly(*, keep: bool) -> None:
    images, probs = smooth(4, 6, 18, 21)
    chosen = [[0, 2], [0, 1, 5], [3], [4, 5]]
    present = torch.zeros(4, 6, dtype=torch.bool)
    for i, labels in enumerate(chosen):
        present[i, labels] = True
    lattices = build_lattices(images, WEAKCLIP_VOC) if keep else None
    found = dense_crf(images, probs, WEAKCLIP_VOC, present=present, lattices=lattices)
    for i, labels in enumerate(chosen):
        alone = dense_crf(images[i : i + 1], probs[i : i + 1, labels], WEAKCLIP_VOC)
        assert torch.equal(found[i : i + 1, labels], alone)
        assert not found[i, [k for k in range(6) if k not in labels]].any()


def test_absent_labels_drop_out_of_a_matrix() -> None:
    images, probs = smooth(2, 3, 9, 11)
    matrix = ((0.0, 5.0, 1.0), (5.0, 0.0, 2.0), (1.0, 2.0, 0.0))
    config = CRFConfig(terms=(replace(ALIKE, weight=matrix),), iterations=2)
    present = torch.tensor([[True, False, True], [True, True, False]])
    found = dense_crf(images, probs, config, present=present)
    first = replace(ALIKE, weight=((0.0, 1.0), (1.0, 0.0)))
    alone = dense_crf(images[:1], probs[:1, [0, 2]], replace(config, terms=(first,)))
    torch.testing.assert_close(found[:1, [0, 2]], alone, atol=1e-6, rtol=0)


def test_no_update_no_term_and_no_weight_leave_the_softmax_of_the_unary() -> None:
    images, probs = smooth(1, 3, 7, 6)
    nothing = CRFConfig(terms=(replace(NEAR, weight=0), replace(ALIKE, weight=0)))
    for config in (replace(PSA, iterations=0), CRFConfig(terms=()), nothing):
        torch.testing.assert_close(dense_crf(images, probs, config), probs, atol=1e-6, rtol=1e-5)


def test_a_constant_image_with_constant_probabilities_stays_so() -> None:
    images = torch.full((1, 3, 12, 9), 77, dtype=torch.uint8)
    probs = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1).expand(1, 3, 12, 9)
    even = torch.full((1, 2, 12, 9), 0.5)
    torch.testing.assert_close(dense_crf(images, even, PSA), even)
    marginals = dense_crf(images, probs, PSA)
    assert bool((marginals.argmax(1) == 0).all())
    torch.testing.assert_close(marginals.sum(1), torch.ones(1, 12, 9))


def test_permuting_labels_permutes_the_marginals() -> None:
    images, probs = smooth(1, 5, 15, 14)
    order = [3, 1, 4, 0, 2]
    torch.testing.assert_close(
        dense_crf(images, probs[:, order], WEAKCLIP_TRAIN),
        dense_crf(images, probs, WEAKCLIP_TRAIN)[:, order],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (30, 1), (2, 3)])
def test_thin_images(height: int, width: int) -> None:
    images, probs = smooth(2, 3, height, width)
    marginals = dense_crf(images, probs, WEAKCLIP_VOC)
    torch.testing.assert_close(marginals.sum(1), torch.ones(2, height, width))
    points = features(height, width, 83, images[0].permute(1, 2, 0).numpy(), 5)
    kernels = [
        (lattice_kernel(features(height, width, 3, None, 1))[0], -3 * np.eye(3)),
        (lattice_kernel(points)[0], -3 * np.eye(3)),
    ]
    unary = unary_from_probs(probs)[0].reshape(3, -1).numpy()
    expected = reference_mean_field(unary, kernels, 10)
    np.testing.assert_allclose(marginals[0].reshape(3, -1), expected, atol=1e-4)


def test_one_label_is_certain() -> None:
    images, _ = smooth(1, 1, 8, 9)
    marginals = dense_crf(images, torch.full((1, 1, 8, 9), 0.3), PSA)
    torch.testing.assert_close(marginals, torch.ones(1, 1, 8, 9))


def test_an_empty_batch_stays_empty() -> None:
    images = torch.zeros(0, 3, 8, 9, dtype=torch.uint8)
    assert dense_crf(images, torch.zeros(0, 4, 8, 9), PSA).shape == (0, 4, 8, 9)
    with pytest.raises(ValueError, match="one image or more"):
        build_lattices(images, PSA)


def test_probabilities_need_not_sum_to_one() -> None:
    images, probs = smooth(1, 3, 10, 12)
    torch.testing.assert_close(
        dense_crf(images, probs * 0.5, PSA), dense_crf(images, probs, PSA), atol=1e-4, rtol=0
    )


def test_half_precision_probabilities_are_taken_as_single() -> None:
    images, probs = smooth(1, 3, 10, 12)
    marginals = dense_crf(images, probs.half(), PSA)
    assert marginals.dtype == torch.float32
    assert torch.equal(marginals, dense_crf(images, probs.half().float(), PSA))


def test_double_precision_agrees_with_single() -> None:
    images, probs = smooth(1, 3, 16, 17)
    double = dense_crf(images, probs.double(), WEAKCLIP_TRAIN)
    assert double.dtype == torch.float64
    difference = (double - dense_crf(images, probs, WEAKCLIP_TRAIN)).abs()
    assert float(difference.mean()) < 1e-3


@pytest.mark.parametrize("weight", [500.0, -500.0])
def test_huge_weights_do_not_overflow(weight: float) -> None:
    images, probs = smooth(1, 3, 12, 13)
    config = CRFConfig(terms=(replace(ALIKE, weight=weight),), iterations=3)
    marginals = dense_crf(images, probs, config)
    assert bool(marginals.isfinite().all())
    torch.testing.assert_close(marginals.sum(1), torch.ones(1, 12, 13))
    image = images[0].permute(1, 2, 0).numpy()
    kernel = lattice_kernel(features(12, 13, 80, image, 13))[0]
    unary = unary_from_probs(probs)[0].reshape(3, -1).numpy()
    expected = reference_mean_field(unary, [(kernel, -weight * np.eye(3))], 1)
    first = dense_crf(images, probs, replace(config, iterations=1))[0].reshape(3, -1)
    np.testing.assert_allclose(first, expected, atol=5e-3)


def test_many_vertices_are_filtered_label_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    images, probs = smooth(2, 5, 16, 15)
    matrix = tuple(tuple(0.3 * (i * j % 4) for i in range(5)) for j in range(5))
    config = CRFConfig(terms=(NEAR, replace(ALIKE, weight=matrix)), iterations=2)
    expected = dense_crf(images, probs, config)
    monkeypatch.setattr("weakclip.crf.mean_field_update._TABLE_FLOATS", 2000)
    torch.testing.assert_close(dense_crf(images, probs, config), expected, atol=1e-6, rtol=0)


def test_large_batches_go_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    images, probs = smooth(5, 3, 16, 15)
    expected = dense_crf(images, probs, PSA)
    monkeypatch.setattr("weakclip.crf.dense._GROUP_FLOATS", 2 * 3 * 16 * 15)
    torch.testing.assert_close(dense_crf(images, probs, PSA), expected, atol=1e-5, rtol=0)
    monkeypatch.setattr("weakclip.crf.lattices._CACHED_PIXELS", 1)
    torch.testing.assert_close(dense_crf(images, probs, PSA), expected, atol=1e-5, rtol=0)


def test_no_gradient_flows() -> None:
    images, probs = smooth(1, 3, 8, 9)
    assert not dense_crf(images, probs.requires_grad_(), PSA).requires_grad


def test_inputs_are_not_written_to() -> None:
    images, probs = smooth(1, 3, 8, 9)
    unary = unary_from_probs(probs)
    copies = images.clone(), probs.clone(), unary.clone()
    dense_crf(images, probs, PSA)
    mean_field(unary, build_lattices(images, PSA), PSA)
    assert all(torch.equal(a, b) for a, b in zip((images, probs, unary), copies, strict=True))


def test_bad_probabilities_are_refused() -> None:
    images, probs = smooth(1, 3, 8, 9)
    nan, negative = probs.clone(), probs.clone()
    nan[0, 1, 2, 3], negative[0, 0, 0, 0] = torch.nan, -0.1
    for bad in (nan, negative):
        with pytest.raises(ValueError, match="expected numbers of 0 or more"):
            dense_crf(images, bad, PSA)
    with pytest.raises(ValueError, match="finite"):
        mean_field(nan, build_lattices(images, PSA), PSA)
    with pytest.raises(ValueError, match="one label or more"):
        dense_crf(images, probs[:, :0], PSA)
    with pytest.raises(ValueError, match="clip"):
        dense_crf(images, probs, PSA, clip=0)


def test_bad_images_are_refused() -> None:
    images, probs = smooth(1, 3, 8, 9)
    with pytest.raises(TypeError, match="uint8"):
        dense_crf(images.float(), probs, PSA)
    with pytest.raises(ValueError, match="B, 3, H, W"):
        dense_crf(images[:, :2], probs, PSA)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        dense_crf(images[0], probs, PSA)
    with pytest.raises(ValueError, match="1 maps of 8 x 8"):
        dense_crf(images[..., :8], probs, PSA)


def test_lattices_of_other_images_are_refused() -> None:
    images, probs = smooth(2, 3, 8, 9)
    built = build_lattices(images, PSA)
    unary = unary_from_probs(probs)
    with pytest.raises(ValueError, match="expected those of 1 image"):
        dense_crf(images[:1], probs[:1], PSA, lattices=built)
    with pytest.raises(ValueError, match="expected those of 2 image"):
        mean_field(unary, built[0], PSA)
    with pytest.raises(ValueError, match="8 x 9 images, got 9 x 8"):
        mean_field(unary.mT, built, PSA)
    with pytest.raises(ValueError, match="built for terms"):
        mean_field(unary, built, WEAKCLIP_VOC)
    with pytest.raises(ValueError, match=r"in torch\.float32"):
        mean_field(unary.double(), built, PSA)
    with pytest.raises(IndexError, match="image 2 of the lattices of 2"):
        built[2]


def test_bad_presence_is_refused() -> None:
    images, probs = smooth(2, 3, 8, 9)
    with pytest.raises(TypeError, match="bool"):
        dense_crf(images, probs, PSA, present=torch.ones(2, 3))
    with pytest.raises(ValueError, match="expected shape"):
        dense_crf(images, probs, PSA, present=torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="an image with none"):
        dense_crf(images, probs, PSA, present=torch.tensor([[True] * 3, [False] * 3]))


def test_bad_terms_are_refused() -> None:
    images, probs = smooth(1, 3, 8, 9)
    with pytest.raises(ValueError, match="positive"):
        Gaussian(sxy=0, weight=1)
    with pytest.raises(ValueError, match="positive"):
        Bilateral(sxy=1, srgb=-1, weight=1)
    with pytest.raises(ValueError, match="square"):
        Gaussian(sxy=1, weight=((1.0, 2.0),))
    with pytest.raises(ValueError, match="finite"):
        Gaussian(sxy=1, weight=float("nan"))
    with pytest.raises(ValueError, match="iterations"):
        replace(PSA, iterations=-1)
    two = CRFConfig(terms=(Gaussian(sxy=1, weight=((0.0, 1.0), (1.0, 0.0))),))
    for present in (None, torch.tensor([[True, True, False]])):
        with pytest.raises(ValueError, match="matrix of 3 x 3 labels, got 2 x 2"):
            dense_crf(images, probs, two, present=present)


def test_labels_are_trusted_with_their_confidence() -> None:
    labels = torch.tensor([[[0, 2, 255]]])
    shares = unary_from_labels(labels, 3, confidence=0.7, unsure=255).neg().exp()
    expected = torch.tensor([[0.7, 0.15, 1 / 3], [0.15, 0.15, 1 / 3], [0.15, 0.7, 1 / 3]])
    torch.testing.assert_close(shares[0, :, 0], expected)


def test_bad_labels_are_refused() -> None:
    labels = torch.tensor([[[0, 2]]])
    with pytest.raises(ValueError, match=r"values in \[0, 2\)"):
        unary_from_labels(labels, 2)
    with pytest.raises(ValueError, match="2 or more labels"):
        unary_from_labels(labels, 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        unary_from_labels(labels, 3, confidence=1)
    with pytest.raises(TypeError, match="integers"):
        unary_from_labels(labels.float(), 3)


def test_memory_kept_between_calls_holds_no_result() -> None:
    images, probs = smooth(2, 4, 20, 30)
    with torch.inference_mode():
        first = dense_crf(images, probs, WEAKCLIP_VOC)
    before = first.clone()
    small = dense_crf(images[:1, :, :9], probs[:1, :3, :9], WEAKCLIP_VOC)
    torch.testing.assert_close(small.sum(1), torch.ones(1, 9, 30))
    assert torch.equal(first, before)
    assert torch.equal(dense_crf(images, probs, WEAKCLIP_VOC), before)


def test_threads_do_not_meet() -> None:
    pairs = [smooth(1, 4, 64, 64, seed=seed) for seed in range(4)]
    alone = [dense_crf(images, probs, WEAKCLIP_TRAIN) for images, probs in pairs]

    def again(number: int) -> Tensor:
        images, probs = pairs[number % 4]
        return dense_crf(images, probs, WEAKCLIP_TRAIN)

    with ThreadPoolExecutor(4) as pool:
        for number, marginals in enumerate(pool.map(again, range(12))):
            torch.testing.assert_close(marginals, alone[number % 4], atol=1e-5, rtol=0)


def test_numpy_users_get_the_same() -> None:
    images, probs = smooth(1, 4, 8, 9)
    image = images[0].permute(1, 2, 0).numpy()
    found = dense_crf_inference(image, probs[0].numpy(), PSA)
    assert torch.equal(torch.from_numpy(found), dense_crf(images, probs, PSA)[0])
    some = dense_crf_inference(image, probs[0].numpy(), PSA, present=[0, 3])
    assert not some[1:3].any()
    with pytest.raises(ValueError, match="H, W, 3"):
        dense_crf_inference(images[0].numpy(), probs[0].numpy())
    with pytest.raises(ValueError, match="L, H, W"):
        dense_crf_inference(image, probs.numpy())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_computes_the_same() -> None:
    images, probs = smooth(3, 4, 40, 50)
    present = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    expected = dense_crf(images, probs, WEAKCLIP_VOC, present=present)
    found = dense_crf(images.cuda(), probs.cuda(), WEAKCLIP_VOC, present=present.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [(4, 40, 50), (21, 128, 144)])
def test_another_device_computes_the_same(size: tuple[int, int, int]) -> None:
    images, probs = smooth(2, *size)
    penalties = tuple(map(tuple, (1 - torch.eye(size[0])).tolist()))
    config = CRFConfig(terms=(replace(NEAR, weight=penalties), ALIKE), iterations=3)
    present = torch.ones(2, size[0], dtype=torch.bool)
    present[1, 2:] = False
    for chosen in (WEAKCLIP_VOC, config):
        expected = dense_crf(images, probs, chosen, present=present)
        with elsewhere() as there:
            inputs = images.to(there), probs.to(there)
            kept = [build_lattices(image[None], chosen) for image in inputs[0]]
            found = dense_crf(*inputs, chosen, present=present.to(there))
            again = dense_crf(*inputs, chosen, present=present.to(there), lattices=kept)
            assert found.device == there
            assert torch.equal(found.cpu(), again.cpu())
            torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=0)


def test_another_device_builds_the_same_lattices() -> None:
    images, _ = smooth(2, 2, 40, 50)
    expected = build_lattices(images, WEAKCLIP_VOC)
    with elsewhere() as there:
        found = build_lattices(images.to(there), WEAKCLIP_VOC).to("cpu")
    for ours, theirs in zip(expected.terms, found.terms, strict=True):
        check_same_vertices(ours, theirs)
