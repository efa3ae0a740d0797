"""Train a segmentation network on mask files, as `weakclip retrain` does.

OUT/network  what `weakclip.load` and `weakclip predict` open
OUT/work     the state from which an interrupted training is resumed
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from weakclip.data.artifacts import content_key
from weakclip.data.atomic import write_text
from weakclip.description import describe
from weakclip.labels import MOST_CLASSES
from weakclip.masking.folder import TRAINING
from weakclip.masking.predict import NOTES, Network, load, read_notes, write_retrained
from weakclip.progress import silent
from weakclip.stages.images import WorkingImages
from weakclip.stages.mask_files import MaskFiles
from weakclip.stages.retrain_presets import PRESETS
from weakclip.suggestion import suggestion
from weakclip.training.execution import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.progress import Report
    from weakclip.stages.retrain import Retraining
    from weakclip.training.execution import Execution


def retrain(
    files: TaggedFiles,
    out: Path | str,
    retraining: Retraining | str = "micro",
    *,
    max_side: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    execution: Execution = REFERENCE,
    indices: Sequence[int] | None = None,
    report: Report | None = None,
) -> Network:
    """Train a segmentation network on the masks of a folder; no tags are needed.

    An interrupted training is resumed when the function is called again with the same arguments;
    if it is complete, its network is opened.

    Args:
        files: Images with masks, 255 = undecided; `list_folder(images, masks=...)` lists them.
        out: Folder for the result.
        retraining: A `Retraining`, or the name of one in `weakclip.stages.retrain_presets`.
        max_side: Larger images are reduced to this longest side, in pixels.
        seed: Seed of weights, order and crops.
        device: Where to compute.
        execution: Precision and compilation; `execution_for(device)` suits a device.
        indices: Images to train on; by default all that have a mask.
        report: Called with (steps done, total steps).

    Raises:
        FileNotFoundError: If the file of the encoder's weights is missing.
        ImportError: If the network needs a package that is not installed.
        ValueError: If there is no mask, a mask has a label without a class, or `out` holds another
            network.
    """
    out = Path(out)
    spec = preset_of(retraining) if isinstance(retraining, str) else retraining
    if not 1 <= len(files.classes) <= MOST_CLASSES:
        raise ValueError(f"classes: expected 1 to {MOST_CLASSES}, got {len(files.classes)}")
    images = WorkingImages(files, max_side=max_side, patch=1)
    if indices is None:
        indices = [index for index, mask in enumerate(files.masks) if mask is not None]
    masks = MaskFiles(images, indices)
    network = spec.build(
        1 + len(files.classes), torch.device(device), folder=out / "work", execution=execution
    )
    after = [list(spec.scales), spec.flip, describe(spec.crf), list(files.classes), max_side]
    key = content_key(network.key(masks, seed), after)
    if (out / "network" / NOTES).exists():
        if read_notes(out / "network" / NOTES).get("key") != key:
            raise ValueError(
                f"{out}: holds a network that was trained otherwise, or on other images or masks; "
                "choose a new folder"
            )
        return load(out, device=device)
    network.fit(images, masks, seed=seed, report=report or silent)
    notes = {"images": len(indices), "losses": network.curve}
    (out / "network").mkdir(parents=True, exist_ok=True)
    write_text(out / "network" / TRAINING, json.dumps(notes, indent=1) + "\n")
    write_retrained(out / "network", network, files.classes, max_side=max_side, key=key)
    for path in network.files:
        path.unlink()
    return Network(network, files.classes, max_side, 1)


def preset_of(name: str) -> Retraining:
    """The preset of a name; a ValueError if there is no such preset."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; {suggestion(name, PRESETS)}")
    return PRESETS[name]
