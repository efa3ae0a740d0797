"""Arrays of class scores that other programs wrote, judged before they are taken for probabilities.

Values that are no probabilities give a mask without an error, and a wrong one: pictures of 0 to 255
are clipped at 1, so that every label is equally likely. So the values are checked, and any other
meaning has to be requested by a flag.
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
"""What the values are: in [0, 1], or to be divided by their sum, or to go through a softmax."""
ROUNDING = 1e-3
"""By how much a probability may be above 1, and the sum of a pixel's differ from 1."""
_NEARLY = 0.02  # relative difference of a sum from 100 or 255 that rounding explains


def read_scores(path: Path, given: Given = "probabilities") -> NDArray[np.float32]:
    """Probabilities of an .npy, or of an .npz with one array or one called `probs`.

    Args:
        path: The file, floats (L, H, W); of positive values and logits integers, too.
        given: What it holds.

    Returns:
        (L, H, W), each in [0, 1]. Of probabilities the sums are those of the file.

    Raises:
        ValueError: If it is damaged, or holds something else.
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
    """The smallest and the largest sum over the labels of a pixel, of (L, H, W)."""
    sums = scores.sum(0, dtype=np.float64)
    return float(sums.min()), float(sums.max())


_EXPECTED: dict[Given, str] = {
    "probabilities": "probabilities, 0 to 1",
    "positive": "values from 0 on",
    "logits": "finite logits",
}


def _array(path: Path) -> NDArray[Any]:
    try:
        # NumPy leaves a file that it has opened itself open if the archive in it is damaged
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
    """What the values may be, and what to do then."""
    if low < 0:
        return "are they logits? --softmax makes probabilities of them"
    sums = values.sum(0, dtype=np.float64)
    for total, what in ((100, "percent"), (255, "8-bit values")):
        if np.abs(sums / total - 1).max() < _NEARLY:
            return f"are they {what}? --normalise divides by the sum over the labels"
    return "--normalise divides by the sum over the labels, --softmax is for logits"
