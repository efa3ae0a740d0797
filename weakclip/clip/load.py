"""The frozen CLIPs that can be asked for by name."""

from __future__ import annotations

import difflib
import hashlib
from typing import TYPE_CHECKING

import torch

from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.micro import MEAN, STD, MicroConfig, build_micro, load_micro

if TYPE_CHECKING:
    from pathlib import Path

    from open_clip.model import CLIP

    from weakclip.clip.tokens import VocabularyTokenizer

CLIP_NAMES = ("micro", "random-micro")
"""`micro`: the embedded micro-CLIP. `random-micro`: its architecture with random weights, for
checks of the pipeline that support no claim."""


def load_clip(
    name: str = "micro", *, folder: Path | None = None, device: torch.device | str = "cpu"
) -> CLIPBundle:
    """Load a frozen CLIP.

    Args:
        name: One of `CLIP_NAMES`.
        folder: Where the weights are, if not in the package.
        device: Where to put the towers.

    Raises:
        FileNotFoundError: If the weights are missing.
        ValueError: If the name is unknown or the weights are damaged.
    """
    if name not in CLIP_NAMES:
        guess = difflib.get_close_matches(name, CLIP_NAMES, n=1)
        hint = f"; did you mean {guess[0]!r}?" if guess else ""
        raise ValueError(f"unknown CLIP {name!r}{hint} Known: {', '.join(CLIP_NAMES)}")
    if name == "micro":
        model, tokenizer, digest = load_micro(folder) if folder else load_micro()
    else:
        _, tokenizer, _ = load_micro(folder) if folder else load_micro()
        model, digest = _random_micro(tokenizer)
    bundle = CLIPBundle.from_open_clip(
        model,
        tokenizer,
        mean=MEAN,
        std=STD,
        name=f"{name}-clip",
        sha256=digest,
    )
    bundle.image.to(device)
    bundle.text.to(device)
    return bundle


def _random_micro(tokenizer: VocabularyTokenizer) -> tuple[CLIP, str]:
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = build_micro(MicroConfig(), len(tokenizer)).eval()
    torch.random.set_rng_state(state)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return model, digest.hexdigest()
