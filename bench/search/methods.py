"""The same small search for every compared method: four settings each, on the split `tune`.

Each setting is fitted on the images and tags of `tune`, and its pseudo masks are scored there. The
choice uses the pixel annotation of `tune`, which no other table reports. The best setting replaces
the first one only if the interval of their difference excludes 0 (`docs/statistics.md`, "Settings
of the compared methods").

Run: `python -m bench.search.methods [METHOD ...] [--workers 2]`. Scores are cached in the folder of
artifacts by everything they depend on, so that an interrupted search can be resumed.
"""

from __future__ import annotations

import argparse
import importlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from bench.console import result, say
from bench.errors import unknown
from bench.flags import ARTIFACTS, RESULTS
from bench.report.markup import Summary, difference_text, percent
from bench.report.summary import NONE
from bench.report.table import columns_of
from bench.search.tables import write_table
from bench.stats.statistics import Difference, paired_difference, pooled_miou
from bench.studies.preset import CARTOON
from bench.studies.slots import config_id, plain_config
from bench.tasks.task import ImageWorkbench, open_workbench
from weakclip.data.atomic import replacing
from weakclip.description import describe
from weakclip.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.studies.method import MethodRow, Searched

SettingCounts: TypeAlias = "Mapping[tuple[str, str], NDArray[np.integer]]"
"""Method and setting -> counts of one seed, (N, K, 3)."""
STUDY_MODULE = "ablations._settings"
SEED = 0
TASK = "train-pseudo"
"""Task that is scored: here both training and scoring use `tune`."""
RULE = (
    "Criterion: mIoU of pseudo masks on `tune` with the tags known, before the CRF, which uses the "
    "pixel annotation of `tune` (400 images that no other table reports). Every method has the "
    "same number of settings, the first is its own, and each is fitted on the images and tags of "
    f"`tune` with seed {SEED}. A map source is scored with Otsu's background and no refinement, a "
    "refinement on MaskCLIP's maps. The best setting is chosen if the 95 % interval of its "
    "difference to the first, paired by image, excludes 0 in a second combination as well "
    "(`confirmed`: a refinement on CLIP-ES's maps, a map followed by CAA); otherwise the first."
)


def tune_workbench(artifacts: Path) -> ImageWorkbench:
    """A workbench that trains and scores on `tune`; `train` and `val` are not used."""
    splits = dict.fromkeys(CARTOON.splits, "tune")
    preset = replace(CARTOON, splits=splits)
    return open_workbench(preset, None, torch.device("cpu"), artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One setting of a method and its score."""

    method: str
    setting: str
    config_id: str
    miou: float
    difference: Difference | None
    """Difference to the first setting of the method; None for the first."""
    confirmed: Difference | None = None
    """The same difference in the second test of the rule; None if it was not run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Search, and write `tables/tuning.md` and `tables/tuning.csv` in the results folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.methods", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="default: all")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    module = importlib.import_module(STUDY_MODULE)
    searched: dict[str, Searched[object]] = {each.name: each for each in module.SEARCHED}
    for name in options.methods:
        if name not in searched:
            raise unknown("method", name, searched)
    names = options.methods or list(searched)
    with ProcessPoolExecutor(options.workers) as pool:

        def scored(
            asked: Sequence[tuple[str, str]], method: Callable[[str, str], MethodRow]
        ) -> SettingCounts:
            jobs = [(method(*pair), options.artifacts) for pair in asked]
            return dict(zip(asked, pool.map(_counts, jobs), strict=True))

        settings = [(name, setting) for name in names for setting in searched[name].settings]
        counts = scored(settings, module.tuned_with)
        tried = {name: _tried(searched[name], counts) for name in names}
        best = {name: choose(rows) for name, rows in tried.items()}
        asked = [
            (name, setting)
            for name in names
            for setting in (tried[name][0].setting, best[name])
            if best[name] != tried[name][0].setting and module.confirmed_with(name, setting)
        ]
        second = scored(asked, module.confirmed_with)
    rows = [
        replace(row, confirmed=_difference(second, (name, row.setting), rows[0].setting))
        for name, rows in tried.items()
        for row in rows
    ]
    missing = [name for name in searched if name not in names]
    files = _write(rows, missing, options.out)
    result({"searched": names, "files": [path.as_posix() for path in files]})
    return 0


def choose(tried: Sequence[Tried]) -> str:
    """Name of the setting of a method that the rule chooses; `tried` begins with the first setting.

    It is the setting with the best mIoU if the interval of its difference to the first is above 0,
    also in the second test if that was run; otherwise it is the first setting.
    """
    best = max(tried, key=lambda row: row.miou)
    asked = (best.difference, best.confirmed or best.difference)
    better = all(value is not None and value.low > 0 for value in asked)
    return best.setting if better else tried[0].setting


def setting_id(spec: object) -> str:
    """Id of the configuration of a map source or a refinement."""
    described = describe(spec)
    assert isinstance(described, dict)
    return config_id(described)


def _tried(method: Searched[object], counts: SettingCounts) -> list[Tried]:
    """All settings of a method with their differences to the first."""
    return [
        Tried(
            method=method.name,
            setting=setting,
            config_id=setting_id(spec),
            miou=float(pooled_miou(counts[method.name, setting])),
            difference=_difference(counts, (method.name, setting), next(iter(method.settings))),
        )
        for setting, spec in method.settings.items()
    ]


def _difference(counts: SettingCounts, pair: tuple[str, str], first: str) -> Difference | None:
    """The difference of a setting to the first; None for the first itself or if one was not run."""
    other = (pair[0], first)
    if pair == other or not {pair, other} <= counts.keys():
        return None
    return paired_difference(counts[pair][None], counts[other][None])


def _write(tried: Sequence[Tried], missing: Sequence[str], out: Path) -> list[Path]:
    chosen = {
        name: choose([row for row in tried if row.method == name])
        for name in dict.fromkeys(row.method for row in tried)
    }
    rows = []
    for row in tried:
        confirmed = columns_of(row.confirmed)
        rows.append({
            "method": row.method, "setting": row.setting, "config_id": row.config_id,
            "split": "tune", "miou": row.miou,
            **{name: columns_of(row.difference)[name] for name in ("difference", "low", "high")},
            "confirmed": confirmed["difference"], "confirmed_low": confirmed["low"],
            "confirmed_high": confirmed["high"],
            "chosen": "yes" if row.setting == chosen[row.method] else "no",
        })  # fmt: skip
    texts = [
        (
            row.method, row.setting, percent(row.miou), _points(row.difference),
            _points(row.confirmed), "✓" if row.setting == chosen[row.method] else "",
        )
        for row in tried
    ]  # fmt: skip
    table = Summary.of(
        "Settings of the compared methods, chosen on `tune`",
        ("method", "setting", "mIoU %", "Δ to the first [95 %]", "confirmed Δ [95 %]", "chosen"),
        texts,
    )
    notes = [RULE]
    if missing:
        notes.append(f"**Not searched yet: {', '.join(missing)}; these keep their first setting.**")
    return write_table(out, "tuning", table, notes, rows, by="methods")


def _points(value: Difference | None) -> str:
    return NONE if value is None else difference_text(value)


def _counts(job: tuple[MethodRow, Path]) -> NDArray[np.integer]:
    """Counts of a method on `tune`, (N, K, 3), measured or read from the cache."""
    method, artifacts = job
    workbench = _workbench(artifacts)
    path = artifacts / "tuning" / f"{workbench.key_of(method, SEED)}.npy"
    if not path.exists():
        outcome = workbench.run(method, SEED, report=silent)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, outcome.counts[TASK])
        miou = 100 * float(pooled_miou(outcome.counts[TASK]))
        name = config_id(plain_config(method))
        say(json.dumps({"id": name, "miou": round(miou, 2), **outcome.seconds}))
    counts: NDArray[np.integer] = np.load(path, allow_pickle=False)
    return counts


@cache
def _workbench(artifacts: Path) -> ImageWorkbench:
    torch.set_num_threads(1)
    return tune_workbench(artifacts)


if __name__ == "__main__":
    raise SystemExit(main())
