"""A trained network for users: opened from its folder and applied to any image.

NETWORK/weights.safetensors  its weights; WeakCLIP's four components with their model card
NETWORK/network.json         the settings of inference: classes, image size, scales, CLIP or CRF
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakclip.clip.load import CLIP_NAMES, load_clip
from weakclip.crf import dense
from weakclip.data.atomic import write_text
from weakclip.description import dataclasses_of, describe, value_of
from weakclip.network.checkpoints import read_card
from weakclip.retraining import network as networks
from weakclip.stages.network import SeededTraining, TrainedWeakCLIP
from weakclip.stages.protocols import Setting
from weakclip.stages.retrain import FORMAT as RETRAINED
from weakclip.stages.retrain import RetrainedNetwork, Retraining
from weakclip.stages.size import scores_at, shrink, working_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.masking.plan import MaskPlan

WEIGHTS = "weights.safetensors"
NOTES = "network.json"
FORMAT = "weakclip-network-1"


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Labels and scores of an image."""

    labels: NDArray[np.uint8]
    """(H, W): 0 is background, c + 1 is class `class_names[c]`."""
    scores: NDArray[np.float32]
    """(1 + F, H, W), background first."""
    class_names: tuple[str, ...]
    """Names of the F classes."""


class Network:
    """A trained network; `load` opens one."""

    def __init__(
        self,
        segmenter: TrainedWeakCLIP | RetrainedNetwork,
        class_names: tuple[str, ...],
        max_side: int,
        patch: int,
    ) -> None:
        """Store a fitted network and how it is applied.

        Images are reduced to a longest side of `max_side` pixels, and their sides are rounded to
        multiples of `patch`: CLIP's patch size, or 1.
        """
        self._segmenter, self._max_side, self._patch = segmenter, max_side, patch
        self.class_names = class_names

    def predict(self, image: Image.Image | NDArray[np.uint8]) -> Labelled:
        """Segment an image; no tags are needed.

        Args:
            image: A PIL image, or an array (H, W, 3), uint8, RGB.

        Raises:
            TypeError: If it is neither.
            ValueError: If an array has another shape.
        """
        pixels = pixels_of(image)
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        small = shrink(pixels, working_size(size, self._max_side, self._patch))
        device = self._segmenter.device
        probabilities = self._segmenter.probabilities(small[None].to(device))[0].cpu()
        scores = scores_at(probabilities, size)
        labels = scores.argmax(dim=0).to(torch.uint8)
        return Labelled(labels.numpy(), scores.numpy(), self.class_names)


def load(
    folder: Path | str, *, clip: CLIPBundle | None = None, device: torch.device | str = "cpu"
) -> Network:
    """Open a network that a run has trained.

    Args:
        folder: Folder of the network, or of the run that contains it as `network/`.
        clip: The frozen CLIP it was trained with; by default loaded by its name. Unused for a
            retrained network.
        device: Where to compute.

    Raises:
        FileNotFoundError: If there is no network, or the weights of its CLIP are not found.
        ValueError: If a file is damaged, or the checksum of the CLIP differs.
    """
    root = Path(folder)
    root = root if (root / NOTES).is_file() else root / "network"
    if not (root / NOTES).is_file():
        raise FileNotFoundError(
            f"{folder}: no {NOTES} in it or in its network/; give the folder that "
            "`weakclip masks --method weakclip` or `weakclip retrain` wrote"
        )
    notes = read_notes(root / NOTES)
    if notes["format"] == RETRAINED:
        return _retrained(root, notes, torch.device(device))
    card = read_card(root / WEIGHTS)
    if clip is None:
        embedded = notes["clip"].removesuffix("-clip")
        name = embedded if embedded in CLIP_NAMES else notes["clip"]
        try:
            clip = load_clip(name, device=device)
        except (FileNotFoundError, ValueError) as error:
            raise FileNotFoundError(
                f"{folder}: its CLIP, {name}, is not found; give it (`--clip`, `--weights`, in "
                f"Python `clip=load_clip(...)`): {error}"
            ) from error
    spec = SeededTraining(
        config=card.config, scales=tuple(notes["scales"]), flip=notes["flip"], tile=notes["tile"]
    )
    setting = Setting(
        clip=clip,
        class_names=card.class_names[1:],
        background_words=(),
        device=clip.image.vision.proj.device,
    )
    network = spec.build(setting)
    network.load(root / WEIGHTS)
    return Network(network, tuple(notes["classes"]), notes["max_side"], clip.patch_size)


def write_network(
    folder: Path, trained: TrainedWeakCLIP, plan: MaskPlan, classes: Sequence[str]
) -> None:
    """Write a network to a folder that `load` opens."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "clip": trained.card.clip_name,
        "classes": list(classes),
        "max_side": plan.max_side,
        "scales": list(trained.spec.scales),
        "flip": trained.spec.flip,
        "tile": trained.spec.tile,
    }
    write_text(folder / NOTES, json.dumps(content, indent=1) + "\n")
    trained.save(folder / WEIGHTS)


def write_retrained(
    folder: Path,
    network: RetrainedNetwork,
    classes: Sequence[str],
    *,
    max_side: int,
    key: str,
) -> None:
    """Write a retrained network to a folder that `load` opens.

    `max_side` is in pixels; `key` is a hash of everything that the network depends on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = network.spec
    content = {
        "format": RETRAINED,
        "key": key,
        "network": describe(replace(spec.network, weights=None)),
        "classes": list(classes),
        "max_side": max_side,
        "scales": list(spec.scales),
        "flip": spec.flip,
        "crf": describe(spec.crf),
    }
    network.save(folder / WEIGHTS)
    write_text(folder / NOTES, json.dumps(content, indent=1) + "\n")


def _retrained(root: Path, notes: dict[str, Any], device: torch.device) -> Network:
    """Open a network written by `write_retrained`."""
    kinds = dataclasses_of(networks, dense)
    spec = Retraining(
        network=value_of(notes["network"], kinds),
        scales=tuple(notes["scales"]),
        flip=notes["flip"],
        crf=value_of(notes["crf"], kinds),
    )
    network = spec.build(1 + len(notes["classes"]), device)
    network.load(root / WEIGHTS)
    return Network(network, tuple(notes["classes"]), notes["max_side"], 1)


def pixels_of(image: Image.Image | NDArray[np.uint8]) -> torch.Tensor:
    """An image as (3, H, W), uint8.

    Raises:
        TypeError: If it is neither a PIL image nor a uint8 array.
        ValueError: If an array is not (H, W, 3).
    """
    array = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    if array.dtype != np.uint8:
        raise TypeError(f"image: expected a PIL image or an array of uint8, got {array.dtype}")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"image: expected (H, W, 3), RGB, got {array.shape}")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def read_notes(path: Path) -> dict[str, Any]:
    """Content of `network.json`; a ValueError if it is damaged, or has an unknown format."""
    common: dict[str, type | tuple[type, ...]] = {
        "classes": list, "max_side": int, "scales": list, "flip": bool,
    }  # fmt: skip
    kinds: dict[str, dict[str, type | tuple[type, ...]]] = {
        FORMAT: {**common, "clip": str, "tile": int},
        RETRAINED: {**common, "network": dict, "key": str, "crf": (dict, type(None))},
    }
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error}); train the network again") from error
    if not isinstance(content, dict) or content.get("format") not in kinds:
        raise ValueError(
            f"{path}: expected format {' or '.join(map(repr, kinds))}; was it written by a newer "
            "version?"
        )
    for name, kind in kinds[content["format"]].items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path}: damaged ({name!r}); train the network again")
    return content
