r"""Masks of a folder of tagged images, as `weakclip masks` makes them.

Every tagged image gets a palette PNG, a preview and an entry in a COCO-RLE file; `run.json` records
how they were made (`weakclip.masking.folder` lists the files). No setting is chosen by means of
pixel annotations. An unusable image is reported and does not stop the run.

Example:
    A folder `photos` of images, and a `labels.csv` with lines `file,labels`:

    >>> import tempfile; from pathlib import Path; from PIL import Image
    >>> holder = tempfile.TemporaryDirectory(); place = Path(holder.name)
    >>> (place / "photos").mkdir()
    >>> for name in ("a.png", "b.png"):
    ...     Image.effect_noise((128, 96), 50).save(place / "photos" / name)
    >>> _ = (place / "labels.csv").write_text("file,labels\na.png,dog\nb.png,cat;person\n")

    >>> files = list_folder(place / "photos", place / "labels.csv")
    >>> clip = load_clip("micro")  # a CLIP of photographs: load_clip("ViT-B-16/openai")
    >>> run = make_masks(files, clip, place / "masks", plan_for(clip, "clip-es"))
    >>> run.done, run.failed
    (2, ())
    >>> sorted(path.name for path in (place / "masks").iterdir())
    ['classes.txt', 'masks', 'masks.json', 'preview', 'run.json', 'work']
    >>> holder.cleanup()
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakclip.clip.load import load_clip
from weakclip.data.read.folder import list_folder
from weakclip.description import describe
from weakclip.labels import MOST_CLASSES
from weakclip.masking.folder import ResultFolder
from weakclip.masking.job import MaskJob
from weakclip.masking.plan import MaskPlan, plan_for
from weakclip.progress import silent
from weakclip.training.execution import REFERENCE, execution_for
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.data.read.tagged import BadImage, TaggedFiles
    from weakclip.masking.plan import MethodName
    from weakclip.progress import StageReport
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes

__all__ = ["MaskRun", "execution_for", "list_folder", "load_clip", "make_masks", "plan_for"]

FORMAT = "weakclip-masks-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRun:
    """Outcome of a run."""

    done: int
    """Masks written by this run."""
    kept: int
    """Masks that already existed from an earlier run."""
    skipped: int
    """Images without tags, which get no mask."""
    failed: tuple[BadImage, ...]
    """Images, and lines of the tag table, that could not be used."""
    repaired: tuple[str, ...] = ()
    """Unreadable files of an earlier run that were made again; paths relative to `out`."""


def make_masks(
    files: TaggedFiles,
    clip: CLIPBundle,
    out: Path | str,
    plan: MaskPlan | MethodName = "clip-es",
    *,
    resume: bool = False,
    batch_size: int = 8,
    report: StageReport | None = None,
    processes: Processes = ALONE,
    execution: Execution = REFERENCE,
) -> MaskRun:
    """Make a mask of every tagged image.

    Args:
        files: Images and tags.
        clip: The frozen CLIP, on the device to compute on.
        out: Folder for the results; not inside the image folder.
        plan: `clip-es` trains nothing, `weakclip` trains on the seeds of all images; for other
            settings pass a changed `plan_for(clip, method)`.
        resume: Continue in an `out` that was made with the same classes, CLIP and plan. New images
            and images with changed tags or files get a new mask, unreadable files are made again,
            and a trained network is reused.
        batch_size: Images processed together; reduced if memory runs out. Affects results only by
            rounding.
        report: Called with (stage, done, total).
        processes: The processes that work together, all with the same arguments and the same `out`.
            They share the images and the training batches; the first one writes the lists.
        execution: Precision and compilation of WeakCLIP's network; `execution_for(device)` suits a
            device. Maps and seeds are computed in float32.

    Returns:
        The outcome for the images of all processes.

    Raises:
        ValueError: If there are no or too many classes, a word is not in the CLIP's vocabulary,
            `out` contains results that may not be resumed or were made with other settings, the
            plan has a retraining, or the method supports no precision other than float32.
        OSError: If the results cannot be written; files written before are complete.
    """
    out = Path(out)
    _check_classes(files)
    if not isinstance(plan, MaskPlan):
        plan = plan_for(clip, plan, images=int(files.image_labels.any(dim=1).sum()))
    if plan.method.retraining is not None:
        raise ValueError(
            "plan: expected a method without retraining; make the masks first, then train on them "
            "(weakclip.retrain, or `weakclip retrain`)"
        )
    folder = ResultFolder(out, files)
    job = MaskJob(
        files, clip, folder, plan, batch_size=batch_size, report=report or silent,
        processes=processes, execution=execution,
    )  # fmt: skip
    content = _protocol(files, clip, plan, execution)
    _check_earlier(folder, content, resume=resume)
    kept, start, status = len(job.wanted) - len(job.missing), time.monotonic(), "interrupted"
    processes.wait()  # until all have looked at the folder, before anything is written
    if processes.first:
        folder.write_run({**content, "status": "running"})
    try:
        job.run()
        regions = folder.write_list(files) if processes.first else 0
        status = "done"
    finally:
        run = MaskRun(
            done=job.done,
            kept=kept,
            skipped=len(files) - len(job.wanted),
            failed=tuple(job.failed.values()),
            repaired=tuple(job.repaired),
        )
        if status == "done":
            content["regions"] = regions
        if processes.first:
            folder.write_run({**content, "status": status, **_outcome(run, job, start)})
    return run


def _check_classes(files: TaggedFiles) -> None:
    if not files.classes:
        raise ValueError(
            f"{files.root}: no image has a tag; name them in labels.csv (file,labels), or put the "
            "images of a class into a folder of its name"
        )
    if len(files.classes) > MOST_CLASSES:
        raise ValueError(
            f"classes: expected 1 to {MOST_CLASSES} tags, got {len(files.classes)}; labels of a "
            f"PNG end at {MOST_CLASSES}"
        )


def _check_earlier(folder: ResultFolder, content: dict[str, Any], *, resume: bool) -> None:
    """Raise unless the folder is new, or was made with the same settings and may be resumed."""
    earlier = folder.read_run()
    if earlier is None:
        if folder.root.is_dir() and any(folder.root.iterdir()):
            raise ValueError(f"{folder.root}: holds other files; choose a new folder")
        return
    if not resume:
        raise ValueError(
            f"{folder.root}: holds masks already; resume to make the missing ones (--resume), or "
            "choose a new folder"
        )
    if earlier.get("id") != content["id"]:
        parts = [
            difference
            for name in ("plan", "clip", "classes", "arithmetic")
            for difference in differences(earlier.get(name), content.get(name), name)
        ]
        raise ValueError(
            f"{folder.root}: its masks were made otherwise: {'; '.join(parts) or 'settings'}; "
            "choose a new folder"
        )


def differences(before: object, now: object, name: str) -> list[str]:
    """Differences between two JSON values, field by field.

    Example:
        >>> differences({"plan": {"seed": 0, "side": 512}}, {"plan": {"seed": 1, "side": 512}}, "x")
        ['x.plan.seed was 0, is 1']
    """
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted({*before, *now})
            for line in differences(before.get(key), now.get(key), f"{name}.{key}")
        ]
    return [f"{name} was {_short(before)}, is {_short(now)}"]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _protocol(
    files: TaggedFiles, clip: CLIPBundle, plan: MaskPlan, execution: Execution
) -> dict[str, Any]:
    """How the masks are made; `id` is a hash of everything that affects them."""
    tags = np.packbits(files.image_labels.numpy()).tobytes()
    decisive = {
        "plan": describe(plan),
        "clip": {"name": clip.name, "sha256": clip.sha256},
        "classes": list(files.classes),
    }
    if execution.arithmetic:
        decisive["arithmetic"] = execution.arithmetic
    text = json.dumps(decisive, sort_keys=True)
    return {
        "format": FORMAT,
        "id": hashlib.sha256(text.encode()).hexdigest()[:12],
        **decisive,
        "images": {
            "count": len(files),
            "list_sha256": files.sha256,
            "tags_sha256": hashlib.sha256(tags).hexdigest(),
        },
        "protocol": {
            "tags_used": True,
            "pixel_annotations_used": False,
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "precision": execution.precision,
        },
        "versions": {
            "weakclip": _version("weakclip"),
            "torch": torch.__version__,
            "open_clip": _version("open_clip_torch"),
        },
        "device": str(clip.image.vision.proj.device),
    }


def _outcome(run: MaskRun, job: MaskJob, start: float) -> dict[str, Any]:
    return {
        "seconds": round(time.monotonic() - start, 1),
        "masks": {"done": run.done, "kept": run.kept, "skipped": run.skipped},
        "failed": [{"name": bad.name, "reason": bad.reason} for bad in run.failed],
        "repaired": list(run.repaired),
        "batch_size": job.batch_size,
        "training": job.training,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
