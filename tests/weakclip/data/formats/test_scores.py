from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from weakclip.data.formats.scores import read_scores, sums_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.data.formats.scores import Given

PROBS = np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5)).transpose(2, 0, 1)


def saved(folder: Path, values: NDArray[np.generic]) -> Path:
    np.save(folder / "a.npy", values, allow_pickle=True)
    return folder / "a.npy"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_probabilities_of_any_precision_are_taken_as_they_are(
    tmp_path: Path, dtype: type[np.floating]
) -> None:
    values = PROBS.astype(dtype)
    read = read_scores(saved(tmp_path, values))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))
    unsummed = read_scores(saved(tmp_path, PROBS * 0.5))
    assert sums_of(unsummed) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (PROBS * 255, "values .* expected probabilities, 0 to 1; are they 8-bit .* --normalise"),
        (PROBS * 100, "are they percent.* --normalise"),
        (PROBS * 3.7, "--normalise divides .* --softmax is for logits"),
        (np.log(PROBS), "are they logits.* --softmax"),
        (PROBS * 20 - 5, "are they logits.* --softmax"),
        (PROBS - 0.5, "values -0.[0-9]+ to .*logits"),
        (PROBS * 0, "all values are 0"),
        (np.where(PROBS > 0.5, np.inf, PROBS), "of 60 values are infinite or no numbers"),
        (np.where(PROBS > 0.5, np.nan, PROBS), "of 60 values are infinite or no numbers"),
        (np.where(PROBS > 0.5, 1e300, PROBS), r"to 1e\+300"),
        ((PROBS * 255).astype(np.uint8), "expected floats of shape .* got uint8"),
        (PROBS[0], "expected floats of shape"),
        (PROBS[:0], "expected floats of shape"),
        (PROBS.astype(complex), "expected floats of shape"),
        (np.array({"keys": [0], "maps": PROBS}), "holds Python objects, .* refine --maps"),
    ],
)
def test_what_is_no_probability_is_refused_with_the_way_out(
    tmp_path: Path, values: NDArray[np.generic], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"a\.npy: .*{message}"):
        read_scores(saved(tmp_path, values))


@pytest.mark.parametrize(
    ("values", "given"),
    [
        (PROBS * 100, "positive"),
        (PROBS * 1e-3, "positive"),
        (np.log(PROBS), "logits"),
        (np.log(PROBS) + 700, "logits"),
        (np.log(PROBS) - 1e5, "logits"),
    ],
)
def test_positive_values_and_logits_become_probabilities(
    tmp_path: Path, values: NDArray[np.float64], given: Given
) -> None:
    np.testing.assert_allclose(read_scores(saved(tmp_path, values), given), PROBS, atol=1e-6)


def test_whole_numbers_may_be_positive_values(tmp_path: Path) -> None:
    values = np.array([[[255, 0]], [[0, 0]]], dtype=np.uint8)
    read = read_scores(saved(tmp_path, values), "positive")
    np.testing.assert_array_equal(read, [[[1, 0]], [[0, 0]]])


@pytest.mark.parametrize(("values", "given"), [(PROBS - 1, "positive"), (PROBS * np.nan, "logits")])
def test_what_is_not_as_given_is_refused(
    tmp_path: Path, values: NDArray[np.float64], given: Given
) -> None:
    with pytest.raises(ValueError, match=r"a\.npy: .*expected (values from 0 on|finite logits)"):
        read_scores(saved(tmp_path, values), given)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"text"])
def test_a_damaged_file_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_scores(tmp_path / name)
