"""Building the masks and lists of a data set, in a way that can be interrupted and repeated.

The settings are recorded before the first mask, so that two numberings never mix in a folder. An
existing mask is kept only if it equals the one that this build makes. The lists are written last,
when all masks exist, so a list never names a missing mask or one of another program.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from weakclip.data.atomic import write_text
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.data.read.tagged import BadImage, list_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from weakclip.progress import Report

RECORD = "weakclip-build.json"
LISTS = "ImageSets/Segmentation"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskJob:
    """A mask to make."""

    image_id: str
    """The file is `image_id`.png; an id with slashes lies in a sub-folder."""
    make: Callable[[], NDArray[np.uint8]]
    """Makes the labels, (H, W), uint8; raises ValueError if the source is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Outcome for the masks."""

    written: int
    kept: int
    failed: tuple[BadImage, ...]


ListRecord: TypeAlias = dict[str, int | str]
"""Summary of a list of image ids, for comparison between machines: `count` and `sha256`."""


def build_masks(jobs: Sequence[MaskJob], folder: Path, *, replace: bool, report: Report) -> Built:
    """Make every mask; a damaged source is reported and skipped.

    An existing mask is kept if it is the same. One that differs is reported, since another program
    may have made it, unless it may be replaced. One that cannot be read is made again.

    Raises:
        OSError: If a mask cannot be written, e.g. on a full disk; masks written before are
            complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = kept = 0
    failed: list[BadImage] = []
    for done, job in enumerate(jobs):
        report(done, len(jobs))
        target = folder / f"{job.image_id}.png"
        try:
            mask = job.make()
        except ValueError as error:
            failed.append(BadImage(job.image_id, str(error)))
            continue
        there = _there(target)
        if there is not None and np.array_equal(there, mask):
            kept += 1
        elif there is not None and not replace:
            failed.append(BadImage(job.image_id, _other_mask(there, mask)))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_mask(target, mask)
            written += 1
    report(len(jobs), len(jobs))
    return Built(written=written, kept=kept, failed=tuple(failed))


def claim(out: Path, settings: Mapping[str, str], *, replace: bool) -> None:
    """Record the settings of a build in `out`; reject a folder built with other settings.

    Raises:
        ValueError: If the record has other settings and `replace` is false.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = _read_record(out / RECORD)
    there = record.get("settings", settings)
    if there != settings and not replace:
        raise ValueError(
            f"{out}: was built with {there}, expected {dict(settings)}; choose another folder, "
            "or build it anew with --on-existing replace"
        )
    _write_record(out, record | {"settings": dict(settings)})


def check_lists(out: Path, lists: Mapping[str, Sequence[str]], *, replace: bool) -> None:
    """Raise a ValueError if a list has other images, or another order, and may not be replaced."""
    for name, ids in lists.items():
        path = out / LISTS / f"{name}.txt"
        if path.is_file() and not replace and not _is_list_of(path, ids):
            raise ValueError(
                f"{path}: is there with other images, or in another order, than the {len(ids)} "
                "of this build; move it away, or use --on-existing replace"
            )


def differing_lists(manifest: Path, lists: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Differences of lists from those of an earlier build, one line each.

    The manifest is `weakclip-build.json` of that build, or similar JSON, e.g.
    `{"lists": {"train": {"count": 1464, "sha256": "..."}}}`. It may contain more lists.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it contains no lists.
    """
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such manifest; every build writes one, {RECORD}")
    known = _read_record(manifest).get("lists")
    if not isinstance(known, dict) or not known:
        raise ValueError(f"{manifest}: expected checksums of lists; give {RECORD} of a build")
    return tuple(
        f"list {name}: expected {_stated(known.get(name))} by {manifest.name}, got {_stated(found)}"
        for name, ids in lists.items()
        if known.get(name) != (found := _recorded(ids))
    )


def write_lists(out: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, ListRecord]:
    """Write `ImageSets/Segmentation/{name}.txt`, one id per line, and record their checksums."""
    folder = out / LISTS
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for name, ids in lists.items():
        path = folder / f"{name}.txt"
        if not path.is_file() or not _is_list_of(path, ids):
            write_text(path, "".join(f"{image_id}\n" for image_id in ids))
        records[name] = _recorded(ids)
    record = _read_record(out / RECORD)
    _write_record(out, record | {"lists": record.get("lists", {}) | records})
    return records


def _is_list_of(path: Path, ids: Sequence[str]) -> bool:
    """Whether a file lists these ids, or image-mask pairs with these ids, in this order."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError:  # not UTF-8
        return False
    if lines == list(ids):  # an id may contain blanks
        return True
    words = [line.split() for line in lines if line.strip()]
    return [one[0] if len(one) == 1 else Path(one[0]).stem for one in words] == list(ids)


def _there(path: Path) -> NDArray[np.uint8] | None:
    """An existing mask; None if there is none or it cannot be read."""
    try:
        return read_mask(path)
    except (FileNotFoundError, ValueError):
        return None


def _other_mask(there: NDArray[np.uint8], mask: NDArray[np.uint8]) -> str:
    got = f"(H, W) {there.shape}" if there.shape != mask.shape else "other labels"
    return (
        f"the mask that is there is not the one of this build (expected {mask.shape}, got {got}); "
        "move it away, or use --on-existing replace"
    )


def _recorded(ids: Sequence[str]) -> ListRecord:
    return {"count": len(ids), "sha256": list_sha256(ids)}


def _stated(record: object) -> str:
    """A recorded list as text."""
    match record:
        case {"count": count, "sha256": sha256}:
            return f"{count} images with SHA-256 {sha256}"
        case None:
            return "no such list"
        case _:
            return f"{record!r}"


def _read_record(path: Path) -> dict[str, Any]:
    """Content of a record; empty if there is no file."""
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged record ({error}); remove it") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}: damaged record (no JSON object); remove it")
    return record


def _write_record(out: Path, record: Mapping[str, Any]) -> None:
    write_text(out / RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")


def write_tag_table(path: Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write the `file,labels` table of images, in order, in the format of `list_folder`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "labels"))
    writer.writerows((name, ";".join(sorted(labels))) for name, labels in tags.items())
    write_text(path, text.getvalue())
