"""Records of many runs in few files, for git: `runs/<study>.jsonl` and .npz files of their counts.

Each line of the .jsonl is a record. Its key `packed` gives the .npz file with its counts, and a
group and a column in it. `runs/<study>.<hash>.npz` holds the counts of many runs: the array
`<group>/<task>` has the runs of a group in its last axis, where they are similar, so the file
compresses to a third. Cells of pixels differ in number between runs and have one array per run,
`<group>/<task>.cells.<view>/<column>`. The hash in the name is that of the bytes, so a file never
changes: later packs add new files, and branches that packed different runs merge line by line.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bench.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord

    Counts: TypeAlias = dict[str, NDArray[np.integer]]
    Row: TypeAlias = tuple[str, int]
    """Variant and seed."""
    Stamp: TypeAlias = tuple[int, int, int]

RAGGED = ".cells."
"""Part of the names of arrays whose length differs between runs."""
PLACE = "packed"
"""Key of a line that gives the place of its counts; it is not part of the record."""
_TIME = (1980, 1, 1, 0, 0, 0)


def lines_of(path: Path) -> dict[Row, str]:
    """The lines of a `runs/<study>.jsonl` by variant and seed; empty if there is no such file.

    Raises:
        RecordError: If a line was not written by `packed_files`.
    """
    try:
        return _lines(path, _stamp(path))
    except FileNotFoundError:
        return {}


def record_text(line: str) -> str:
    """The JSON text of the record in a line."""
    return json.dumps({key: value for key, value in json.loads(line).items() if key != PLACE})


def counts_of(path: Path, line: str) -> Counts:
    """The arrays of counts of a run.

    Args:
        path: The .jsonl file.
        line: The line of a finished run.

    Raises:
        RecordError: If the file of counts is missing or damaged, or lacks the run.
    """
    place = json.loads(line)[PLACE]
    try:
        file, prefix, column = path.with_name(place["file"]), f"{place['group']}/", place["column"]
        arrays = _arrays(file, _stamp(file))
        found = {
            name.removesuffix(f"/{column}"): array
            if RAGGED in name
            else np.ascontiguousarray(array[..., column])
            for name, array in arrays.items()
            if name.startswith(prefix) and (RAGGED not in name or name.endswith(f"/{column}"))
        }
    except (OSError, TypeError, ValueError, LookupError, EOFError, zipfile.BadZipFile,
            lzma.LZMAError) as error:  # fmt: skip
        raise RecordError(f"runs/{path.name}: counts {place} cannot be read ({error})") from error
    return {name.removeprefix(prefix): array for name, array in found.items()}


def packed_files(
    study: str, lines: Mapping[Row, str], runs: Iterable[tuple[RunRecord, Counts | None]]
) -> tuple[dict[str, bytes], str]:
    """Add runs to a pack.

    Args:
        study: Name of the study.
        lines: The lines of the pack by variant and seed.
        runs: Records and counts (None for failed runs); they replace older records of these runs.

    Returns:
        Name and content of the new file of counts, if there are any; the text of the .jsonl.
    """
    from bench.runs.record import to_json

    groups: dict[tuple[object, ...], list[tuple[RunRecord, Counts]]] = {}
    raws: dict[Row, dict[str, Any]] = {}
    for record, counts in runs:
        raws[record.variant, record.seed] = {**json.loads(to_json(record)), PLACE: None}
        if counts is not None:
            shape = tuple(
                (name, a.dtype.str, () if RAGGED in name else a.shape)
                for name, a in sorted(counts.items())
            )
            groups.setdefault(shape, []).append((record, counts))
    members = {
        f"{group}/{name}": np.stack([counts[name] for _, counts in grouped], axis=-1)
        for group, grouped in enumerate(groups.values())
        for name in sorted(grouped[0][1])
        if RAGGED not in name
    } | {
        f"{group}/{name}/{column}": array
        for group, grouped in enumerate(groups.values())
        for column, (_, counts) in enumerate(grouped)
        for name, array in sorted(counts.items())
        if RAGGED in name
    }
    content = _npz(members)
    name = f"{study}.{hashlib.sha256(content).hexdigest()[:12]}.npz"
    for group, grouped in enumerate(groups.values()):
        for column, (record, _) in enumerate(grouped):
            place = {"file": name, "group": group, "column": column}
            raws[record.variant, record.seed][PLACE] = place
    texts = {
        row: json.dumps(raw, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for row, raw in raws.items()
    }
    merged = {**lines, **texts}
    text = "".join(f"{merged[row]}\n" for row in sorted(merged))
    return {name: content} if members else {}, text


def files_named_in(lines: Mapping[Row, str]) -> set[str]:
    """Names of the files of counts that lines refer to."""
    places = [json.loads(line)[PLACE] for line in lines.values()]
    return {place["file"] for place in places if place is not None}


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=64)
def _lines(path: Path, _: Stamp) -> dict[Row, str]:
    found: dict[Row, str] = {}
    lines = path.read_bytes().split(b"\n")
    for number, content in enumerate(lines, 1):
        if not content:
            continue
        try:
            line = content.decode("utf-8")
            raw = json.loads(line)
            row, place = (str(raw["variant"]), int(raw["seed"])), raw[PLACE]
            if row in found:
                raise ValueError(f"a second {row[0]} seed{row[1]}")
            if place is not None and {type(place["file"])} != {str}:
                raise ValueError(f"no place of counts: {place}")
            found[row] = line
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise RecordError(
                f"runs/{path.name}: line {number} is no packed record ({error}); "
                f"`git checkout -- {path.name}` in its folder brings the file back"
            ) from error
    return found


@lru_cache(maxsize=4)
def _arrays(path: Path, _: Stamp) -> Counts:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    if digest != path.name.split(".")[-2]:
        raise ValueError(f"expected the file of that name, got one with hash {digest}")
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _npz(members: Counts) -> bytes:
    """An .npz compressed with LZMA, which `np.load` reads; equal arrays give equal bytes."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy", _TIME)
            with BytesIO() as one:
                np.save(one, array, allow_pickle=False)
                file.writestr(info, one.getvalue(), zipfile.ZIP_LZMA)
    return buffer.getvalue()
