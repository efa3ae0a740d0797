"""Building masks and lists of a data set: whole files only, what is there and right is kept.

A build can be stopped at any time and started again. The settings are recorded before the first
mask, so that two numberings never mix in a folder. A mask that is there is kept only if it is the
one that this build makes. The lists are written last, when every mask is there, so a list never
names a mask that is not, or one of somebody else.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weakclip.data.atomic import write_text
from weakclip.data.formats.masks import read_mask, write_mask
from weakclip.data.read.tagged import BadImage, list_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

RECORD = "weakclip-build.json"
LISTS = "ImageSets/Segmentation"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskJob:
    """One mask to make."""

    image_id: str
    """The mask is `image_id`.png; with slashes if it lies in a sub-folder."""
    make: Callable[[], NDArray[np.uint8]]
    """Labels, (H, W) uint8; raises ValueError if the source is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of the masks."""

    written: int
    kept: int
    failed: tuple[BadImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRecord:
    """A list of image ids, so that two machines can compare theirs."""

    count: int
    sha256: str
    """Of the ids in order, one a line."""


def build_masks(
    jobs: Sequence[MaskJob], folder: Path, *, replace: bool, report: Callable[[int, int], None]
) -> Built:
    """Make every mask; a damaged source is reported and skipped.

    A mask that is there is read and kept if it is the same; another one is reported, since it may
    be somebody else's. What is there and cannot be read is made again.

    Args:
        jobs: The masks.
        folder: Where to; it is made.
        replace: Replace masks that are there and differ.
        report: Called with (done, in all).

    Raises:
        OSError: If a mask cannot be written, e.g. on a full disk; those written are whole.
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
    """Record what `out` is made from; refuse a folder that was made otherwise.

    Raises:
        ValueError: If the record there has other settings and its masks would be kept.
        OSError: If the folder or the record cannot be written.
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
    """Refuse to replace a list of `out` that names other images, or in another order.

    Raises:
        ValueError: If there is such a list and it may not be replaced.
    """
    for name, ids in lists.items():
        path = out / LISTS / f"{name}.txt"
        if path.is_file() and not replace and not _is_list_of(path, ids):
            raise ValueError(
                f"{path}: is there with other images, or in another order, than the {len(ids)} "
                "of this build; move it away, or use --on-existing replace"
            )


def differing_lists(manifest: Path, lists: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Where lists differ from those of an earlier build, a line each; empty if they do not.

    Args:
        manifest: `weakclip-build.json` of that build, or JSON like it, e.g.
            `{"lists": {"train": {"count": 1464, "sha256": "..."}}}`. It may have more lists.
        lists: Ids by name of list.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it records no lists.
    """
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such manifest; every build writes one, {RECORD}")
    known = _read_record(manifest).get("lists")
    if not isinstance(known, dict) or not known:
        raise ValueError(f"{manifest}: expected checksums of lists; give {RECORD} of a build")
    found = {name: asdict(_recorded(ids)) for name, ids in lists.items()}
    return tuple(
        f"list {name}: expected {_stated(known.get(name))} by {manifest.name}, got {_stated(one)}"
        for name, one in found.items()
        if known.get(name) != one
    )


def write_lists(out: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, ListRecord]:
    """Write `ImageSets/Segmentation/{name}.txt`, one id a line, and record their checksums.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = out / LISTS
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for name, ids in lists.items():
        text = "".join(f"{image_id}\n" for image_id in ids)
        path = folder / f"{name}.txt"
        if not path.is_file() or not _is_list_of(path, ids):
            write_text(path, text)
        records[name] = _recorded(ids)
    record = _read_record(out / RECORD)
    known = record.get("lists", {}) | {name: asdict(one) for name, one in records.items()}
    _write_record(out, record | {"lists": known})
    return records


def _is_list_of(path: Path, ids: Sequence[str]) -> bool:
    """Whether a file lists these ids, or image-mask pairs of them, in this order."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError:  # not UTF-8
        return False
    if lines == list(ids):  # an id may have blanks
        return True
    words = [line.split() for line in lines if line.strip()]
    return [one[0] if len(one) == 1 else Path(one[0]).stem for one in words] == list(ids)


def _there(path: Path) -> NDArray[np.uint8] | None:
    """The mask of an earlier build; None if there is none, or none that can be read."""
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
    return ListRecord(count=len(ids), sha256=list_sha256(ids))


def _stated(record: object) -> str:
    """A recorded list for people."""
    match record:
        case {"count": count, "sha256": sha256}:
            return f"{count} images with SHA-256 {sha256}"
        case None:
            return "no such list"
        case _:
            return f"{record!r}"


def _read_record(path: Path) -> dict[str, Any]:
    """What a record says; nothing if there is none."""
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
    """Write the `file,labels` of images, in their order, as `list_folder` reads them.

    Raises:
        OSError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "labels"))
    writer.writerows((name, ";".join(sorted(labels))) for name, labels in tags.items())
    write_text(path, text.getvalue())
