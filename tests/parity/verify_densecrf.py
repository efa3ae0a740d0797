"""Parity of the dense CRF with marginals of the C++ code.

A file holds `case{i}/image` (H, W, 3) uint8, `case{i}/probs` (L, H, W) and, for each parameter set
of its `config`, `case{i}/{set}/iter{n}`: the marginals after n iterations. Sizes, sets and numbers
of iterations are those of the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakclip.crf.dense import Bilateral, CRFConfig, Gaussian, dense_crf, dense_crf_inference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Array = np.ndarray[Any, Any]
TOLERANCE = 2e-3  # the vectors are stored in half precision, which alone is 2.5e-4
AGREEMENT = 0.9995
HALF_STEP = 2.0**-11
"""Two labels whose stored probabilities are equal or next to each other in half precision are a
tie: the vector does not tell which one is larger."""
KEY = re.compile(r"(?P<case>case\d+)/(?P<name>.+)/iter(?P<iterations>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How far our marginals of one case are from the reference's.

    Attributes:
        key: Case, parameter set and iterations.
        max_abs: Largest |dQ|.
        max_rel: The same over the largest marginal of the reference.
        mean_abs: Mean |dQ|.
        agreement: Share of pixels with the same most likely label.
        agreement_untied: The same, where our label is as likely by the stored values also agrees.
        tolerance: Of `max_abs`.
        passed: Whether `max_abs` and `agreement_untied` are good enough.
    """

    key: str
    max_abs: float
    max_rel: float
    mean_abs: float
    agreement: float
    agreement_untied: float
    tolerance: float
    passed: bool


def verify(path: Path, device: torch.device | str = "cpu", most: int | None = None) -> list[Row]:
    """Compare our dense CRF with the marginals in `path`, one row per case, set and iterations.

    Args:
        path: The vectors.
        device: Where to compute.
        most: So many rows at most, the first; absent: all.

    Raises:
        ValueError: If the file has no config, a set is not in it, or a case lacks its inputs.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays: dict[str, Array] = dict(file)
    if "config" not in arrays:
        raise ValueError("no 'config' in the file")
    sets = json.loads(str(arrays["config"]))
    rows: list[Row] = []
    for key in sorted(arrays, key=_natural):
        match = KEY.fullmatch(key)
        if match is None or len(rows) == most:
            continue
        if match["name"] not in sets:
            raise ValueError(f"{key}: no parameter set {match['name']!r} in the config")
        config = crf_config(sets[match["name"]], int(match["iterations"]))
        rows.append(_compare(key, arrays, match["case"], config, device))
    return rows


def crf_config(values: Mapping[str, Any], iterations: int) -> CRFConfig:
    """The CRF of one parameter set; a term whose numbers are absent is left out."""
    terms: list[Gaussian | Bilateral] = []
    if "gaussian_sxy" in values:
        terms.append(Gaussian(sxy=values["gaussian_sxy"], weight=values["gaussian_compat"]))
    if "bilateral_sxy" in values:
        terms.append(
            Bilateral(
                sxy=values["bilateral_sxy"],
                srgb=values["bilateral_srgb"],
                weight=values["bilateral_compat"],
            )
        )
    return CRFConfig(terms=tuple(terms), iterations=iterations)


def _natural(key: str) -> list[int | str]:
    """Sort key in which case10 comes after case9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def _marginals(image: Array, probs: Array, config: CRFConfig, device: torch.device | str) -> Array:
    """Marginals (L, H, W) of an image (H, W, 3)."""
    if device == "cpu":
        return dense_crf_inference(image, probs, config)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    found = dense_crf(pixels.to(device), torch.from_numpy(probs)[None].to(device), config)
    return np.asarray(found[0].cpu())


def _compare(
    key: str,
    arrays: Mapping[str, Array],
    case: str,
    config: CRFConfig,
    device: torch.device | str,
) -> Row:
    for name in ("image", "probs"):
        if f"{case}/{name}" not in arrays:
            raise ValueError(f"{key}: no {case}/{name} in the file")
    theirs = arrays[key].astype(np.float64)
    probs = arrays[f"{case}/probs"].astype(np.float32)
    ours = _marginals(arrays[f"{case}/image"], probs, config, device)
    if ours.shape != theirs.shape:
        raise ValueError(f"{key}: expected marginals of shape {ours.shape}, got {theirs.shape}")
    error = np.abs(ours - theirs)
    untied = _agreement_untied(ours, theirs)
    return Row(
        key=key,
        max_abs=float(error.max()),
        max_rel=float(error.max() / theirs.max()),
        mean_abs=float(error.mean()),
        agreement=float((ours.argmax(0) == theirs.argmax(0)).mean()),
        agreement_untied=untied,
        tolerance=TOLERANCE,
        passed=bool(error.max() <= TOLERANCE and untied >= AGREEMENT),
    )


def _agreement_untied(ours: Array, theirs: Array) -> float:
    """Share of pixels whose label of ours is the reference's, or as likely by its stored values."""
    chosen = np.take_along_axis(theirs, ours.argmax(0)[None], 0)[0]
    return float((chosen >= theirs.max(0) * (1 - HALF_STEP)).mean())
