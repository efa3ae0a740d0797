"""Class scores written by other programs, checked before they are used as probabilities.

Values that are not probabilities would give a wrong mask without an error: values of 0 to 255, for
example, are clipped to 1, so all labels become equally likely. So the values are checked, and any
other meaning must be requested by a flag.
"""

from __future__ import annotations

import zipfile
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from weakclip.data.read.images import readable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Given = Literal["probabilities", "positive", "logits"]
"""Meaning of the values: in [0, 1], to be divided by their sum, or input of a softmax."""
ROUNDING = 1e-3
"""Tolerance of a probability above 1, and of the sum of a pixel's probabilities."""
_NEARLY = 0.02  # relative difference of a sum from 100 or 255 that can be due to rounding


def read_scores(path: Path, given: Given = "probabilities") -> NDArray[np.float32]:
    """Probabilities in an .npy, or in an .npz with one array or one called `probs`.

    The file has (L, H, W) floats; for `positive` and `logits` also integers.

    Returns:
        (L, H, W), each in [0, 1]. The sums of `probabilities` are not changed, except that values
        are clipped to 1.

    Raises:
        ValueError: If the file is damaged or its values do not have that meaning.
    """
    values = _array(path)
    kinds = "f" if given == "probabilities" else "fiu"
    if values.ndim != 3 or values.dtype.kind not in kinds or not values.size:
        raise ValueError(
            f"{path.name}: expected floats of shape (L, H, W), got {values.dtype} {values.shape}"
        )
    not_finite = values.size - int(np.isfinite(values).sum())
    if not_finite:
        raise ValueError(
            f"{path.name}: {not_finite} of {values.size} values are infinite or no numbers, "
            f"expected {_EXPECTED[given]}; mend what wrote them"
        )
    low, high = float(values.min()), float(values.max())
    if (given != "logits" and low < 0) or (given == "probabilities" and high > 1 + ROUNDING):
        raise ValueError(
            f"{path.name}: values {low:.6g} to {high:.6g}, expected {_EXPECTED[given]}; "
            f"{_guess(values, low)}"
        )
    if given == "logits":
        values = np.exp(values.astype(np.float64) - values.max(0))
    elif high == 0:
        raise ValueError(f"{path.name}: all values are 0, expected {_EXPECTED[given]}")
    if given != "probabilities":
        sums = values.sum(0, dtype=np.float64)
        values = np.divide(values, sums, where=sums > 0, out=np.zeros(values.shape))
    scores: NDArray[np.float32] = np.minimum(values, 1).astype(np.float32)
    return scores


def sums_of(scores: NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest sum over the labels of a pixel, for scores (L, H, W)."""
    sums = scores.sum(0, dtype=np.float64)
    return float(sums.min()), float(sums.max())


_EXPECTED: dict[Given, str] = {
    "probabilities": "probabilities, 0 to 1",
    "positive": "values from 0 on",
    "logits": "finite logits",
}


def _array(path: Path) -> NDArray[Any]:
    try:
        # Pass an open file: NumPy would not close its own if the archive is damaged.
        with (
            readable(path, "file of scores", zipfile.BadZipFile, TokenError),
            path.open("rb") as file,
        ):
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                name = loaded.files[0] if len(loaded.files) == 1 else "probs"
                if name not in loaded.files:
                    raise ValueError(f"expected one array or 'probs', got {loaded.files}")
                loaded = loaded[name]
            return np.asarray(loaded)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{path.name}: holds Python objects, as the files of maps do that IRN and CLIP-ES "
            "write (a dictionary with keys and maps); expected an array (L, H, W). "
            "`weakclip refine --maps` reads such files"
        ) from error


def _guess(values: NDArray[Any], low: float) -> str:
    """A guess at the meaning of the values, with the flag to use."""
    if low < 0:
        return "are they logits? --softmax makes probabilities of them"
    sums = values.sum(0, dtype=np.float64)
    for total, what in ((100, "percent"), (255, "8-bit values")):
        if np.abs(sums / total - 1).max() < _NEARLY:
            return f"are they {what}? --normalise divides by the sum over the labels"
    return "--normalise divides by the sum over the labels, --softmax is for logits"
