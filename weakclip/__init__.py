"""WeakCLIP: pixel masks from image-level labels with a frozen CLIP.

`pseudo_mask` makes the mask of one image, `make_masks` those of a folder. `retrain` trains a
segmentation network on masks, `load` opens the network that a run has trained. Each name is
imported at its first use, so that `import weakclip` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakclip.clip.load import list_clips as list_clips
    from weakclip.clip.load import load_clip as load_clip
    from weakclip.crf.dense import dense_crf_inference as dense_crf_inference
    from weakclip.data.read.folder import list_folder as list_folder
    from weakclip.evaluation.evaluate import evaluate as evaluate
    from weakclip.masking.make import make_masks as make_masks
    from weakclip.masking.plan import plan_for as plan_for
    from weakclip.masking.predict import load as load
    from weakclip.masking.pseudo import pseudo_mask as pseudo_mask
    from weakclip.masking.retrain import retrain as retrain
    from weakclip.stages.method import Method as Method

_HOMES = {
    "Method": "weakclip.stages.method",
    "dense_crf_inference": "weakclip.crf.dense",
    "evaluate": "weakclip.evaluation.evaluate",
    "list_clips": "weakclip.clip.load",
    "list_folder": "weakclip.data.read.folder",
    "load": "weakclip.masking.predict",
    "load_clip": "weakclip.clip.load",
    "make_masks": "weakclip.masking.make",
    "plan_for": "weakclip.masking.plan",
    "pseudo_mask": "weakclip.masking.pseudo",
    "retrain": "weakclip.masking.retrain",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'weakclip' has no attribute {name!r}; it has {__all__}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
