"""Parity of CLIMS's losses and their gradients with vectors of the release.

The CLIP is the one of a CLIP-ES file in the same folder, with the text projection and the token
rows that this file adds; a file that brings its own `param/` and its config needs no other.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from baselines.clims_losses import CLIMSLosses, clims_terms
from tests.parity.released_clip import Arrays, bundle, state_dict
from tests.parity.row import Row
from weakclip.stages.seeds import encode_texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle

RELATIVE = 1e-4
TERMS = {"OTM": "object_match", "BTM": "background_match", "CBS": "companions", "REG": "area"}


def verify(path: Path) -> list[Row]:
    """Compare our losses with the vectors in `path`, one row per reference key."""
    with np.load(path, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    ours = evaluate(config, arrays, load_clip(path, config, arrays))
    return [
        compare(key, ours.get(key), reference)
        for key, reference in arrays.items()
        if not key.startswith(("param/", "in/"))
    ]


def evaluate(config: Mapping[str, Any], arrays: Arrays, clip: CLIPBundle) -> dict[str, Tensor]:
    """Everything we can compare, by the file's keys."""
    cams = torch.from_numpy(arrays["in/cam"]).requires_grad_()
    names = encode_texts(clip, config["class_names"], (), config["template"])
    companions = encode_texts(clip, (), config["cooccurring_background"], "{}")
    losses = CLIMSLosses(threshold=config["cbs_threshold"])
    terms = clims_terms(
        cams,
        torch.from_numpy(arrays["in/image"]),
        torch.from_numpy(arrays["in/label"]) > 0,
        embed=clip.image.vision,
        texts=type(names)(names.foreground, companions.background),
        size=config["clip_input_size"],
        losses=losses,
    )
    ours = {
        "out/fg_similarity": terms.foreground_similarity.view(-1, 1, 1),
        "out/bg_similarity": terms.background_similarity.view(-1, 1, 1),
    }
    for name, field in TERMS.items():
        value = getattr(terms, field)
        (gradient,) = torch.autograd.grad(value, cams, retain_graph=True)
        ours |= {f"loss/{name}": value, f"grad_cam/{name}": gradient}
    return ours


def load_clip(path: Path, config: Mapping[str, Any], arrays: Arrays) -> CLIPBundle:
    """The CLIP that the file's `config` describes.

    Raises:
        FileNotFoundError: If it is in another file that is not in the same folder.
    """
    found = re.search(r"[\w.-]+\.npz", str(config.get("clip", "")))
    source, sizes = dict(arrays), dict(config)
    if found is not None:
        with np.load(path.parent / found[0], allow_pickle=False) as file:
            source = dict(file)
        sizes = json.loads(str(source["config"]))
    state = state_dict(source)
    if "in/text_projection" in arrays:
        state["text_projection"] = torch.from_numpy(arrays["in/text_projection"])
    if "in/token_rows_added" in arrays:
        rows = torch.from_numpy(arrays["in/token_rows_added"])
        table = state["token_embedding.weight"].clone()
        table[rows] = torch.from_numpy(arrays["in/token_rows_values"])
        state["token_embedding.weight"] = table
    return bundle(sizes, state)


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any]) -> Row:
    """One row; errors are relative to the largest absolute value of the reference."""
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, RELATIVE, passed=False)
    error = float(np.abs(ours.detach().numpy().astype(np.float64) - reference).max())
    relative = error / max(float(np.abs(reference).max()), 1e-30)
    return Row(key, error, relative, RELATIVE, passed=relative <= RELATIVE)
