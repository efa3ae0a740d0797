"""Search for the learning rate of each component in each row of the study `conditions`, on `tune`.

The rule is that of `docs/preregistration.md`. For every component that a row trains, a factor on
the recipe's learning rate is chosen from a few values by the network's mIoU on `tune`, mean over
two seeds. Components are searched one at a time, each with the factors that were chosen before. The
choice uses the pixel annotation of `tune`, which no other table reports. The chosen factors are
entered in the study by hand, and a test compares them.

Run: `python -m bench.search.rates [ROW ...] [--workers 2]`. Scores are cached in the folder of
artifacts by configuration and code, so that an interrupted search can be resumed.
"""

from __future__ import annotations

import argparse
import importlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.console import result, say
from bench.errors import unknown
from bench.flags import ARTIFACTS, RESULTS
from bench.report.markup import Summary, percent
from bench.runs.store import write_atomically
from bench.search.tables import write_table
from bench.studies.preset import CONDITIONS
from bench.studies.slots import plain_config
from bench.tasks.splits import forget_redrawn
from bench.tasks.task import ImageWorkbench, prepare
from weakclip.config import (
    CoAttention,
    LearnableContext,
    LearningRates,
    PlainDecoder,
    PyramidAdapter,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.data.artifacts import code_id, content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STUDY_MODULE = "ablations.conditions"
SEEDS = (100, 101)
FACTORS: Mapping[str, tuple[float, ...]] = {
    "decoder": (1.0, 0.1, 0.02),
    "adapter": (1.0, 0.1, 0.02),
    "matching": (1.0, 0.1, 0.02),
    "prompt": (1.0, 0.1, 0.02, 10.0),
}
"""Component -> factors on its learning rate, in the order in which they are searched."""
TRAINED = (TextGuidedDecoder, PlainDecoder, PyramidAdapter, CoAttention, LearnableContext)
"""Kinds of components with trainable weights."""
RULE = (
    "Criterion: mIoU on `tune` of the network alone, which uses the pixel annotation of `tune`, "
    f"mean over the seeds {', '.join(map(str, SEEDS))}. One component at a time, in the order "
    f"{', '.join(FACTORS)}, the same factors for all rows that train a component. What was chosen "
    "holds at all positions of all dials."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One setting of a row and its scores."""

    rates: LearningRates
    scores: tuple[float, ...]
    """mIoU on `tune`, one per seed."""

    @property
    def miou(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.scores))


def search_rates(
    config: WeakCLIPConfig,
    score: Callable[[Sequence[WeakCLIPConfig]], list[tuple[float, ...]]],
) -> list[Tried]:
    """Return the settings that were tried for a configuration; the last one is the chosen one.

    `score` returns the mIoU of configurations, one per seed.
    """
    parts = {
        part: factors
        for part, factors in FACTORS.items()
        if isinstance(getattr(config, part), TRAINED)
    }
    tried: dict[LearningRates, Tried] = {}
    best = LearningRates()
    for part, factors in parts.items():
        settings = [replace(best, **{part: factor}) for factor in factors]
        new = [each for each in settings if each not in tried]
        found = score([replace(config, rates=each) for each in new])
        for rates, scores in zip(new, found, strict=True):
            tried[rates] = Tried(rates=rates, scores=scores)
        best = max(settings, key=lambda each: tried[each].miou)
    return [*(each for rates, each in tried.items() if rates != best), tried[best]]


def main(argv: Sequence[str] | None = None) -> int:
    """Search, and write `tables/rates.md` and `tables/rates.csv` in the results folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.rates", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--preset", default=CONDITIONS.name, help="with changes after '+'")
    parser.add_argument("--weights", type=Path, help="folder of another micro-CLIP")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    module = importlib.import_module(STUDY_MODULE)
    configs: dict[str, WeakCLIPConfig] = module.UNSEARCHED
    for name in options.rows:
        if name not in configs:
            raise unknown("row", name, configs)
    names = options.rows or list(configs)
    where = (options.preset, options.artifacts, options.weights)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:

        def score(asked: Sequence[WeakCLIPConfig]) -> list[tuple[float, ...]]:
            jobs = [(config, seed, *where) for config, seed in product(asked, SEEDS)]
            found = iter(pool.map(_score, jobs))
            return [tuple(next(found) for _ in SEEDS) for _ in asked]

        tried = {name: search_rates(configs[name], score) for name in names}
    for seed in SEEDS:
        forget_redrawn(options.preset, seed, options.artifacts)
    missing = [name for name in configs if name not in names]
    files = write_rates(tried, missing, options.preset, options.out)
    chosen = {name: asdict(rows[-1].rates) for name, rows in tried.items()}
    result({"searched": chosen, "files": [path.as_posix() for path in files]})
    return 0


def write_rates(
    tried: Mapping[str, Sequence[Tried]], missing: Sequence[str], preset: str, out: Path
) -> list[Path]:
    """Write the tables of all settings, and return their paths."""
    rows = [
        {
            "row": name,
            "preset": preset,
            "split": "tune",
            **asdict(each.rates),
            "miou": each.miou,
            **{f"miou_seed{seed}": one for seed, one in zip(SEEDS, each.scores, strict=True)},
            "chosen": "yes" if each is settings[-1] else "no",
        }
        for name, settings in tried.items()
        for each in settings
    ]
    texts = [
        (
            name,
            *(f"{getattr(settings[-1].rates, part):g}" for part in FACTORS),
            percent(settings[-1].miou),
            percent(next(each.miou for each in settings if each.rates == LearningRates())),
            str(len(settings)),
        )
        for name, settings in tried.items()
    ]  # fmt: skip
    table = Summary.of(
        "Factors on the learning rate of each component, chosen on `tune`",
        ("row", *FACTORS, "mIoU %", "mIoU %, one rate", "settings"),
        texts,
    )
    notes = [RULE, f"Preset: {preset}. A factor of 1 stands also for a part that is not trained."]
    if missing:
        notes.append(f"**Not searched yet: {', '.join(missing)}; one rate for all their parts.**")
    return write_table(out, "rates", table, notes, rows, by="rates")


def _score(job: tuple[WeakCLIPConfig, int, str, Path, Path | None]) -> float:
    """Score on `tune` after a training with a seed, or read the cached score."""
    config, seed, preset, artifacts, weights = job
    bench = _workbench(preset, artifacts, weights)
    key = content_key(
        plain_config(config), seed, bench.protocol, bench.data, bench.weights,
        code_id("bench.tasks.task"),
    )  # fmt: skip
    path = artifacts / "rates" / f"{key}.json"
    if not path.exists():
        own = bench.redrawn(seed)
        tuned = own.run_on_tune(config, bench.preset.recipe, seed, report=None)
        write_atomically(path, json.dumps(asdict(tuned)).encode())
        say(json.dumps({"seed": seed, **asdict(config.rates), **asdict(tuned)}))
    return float(json.loads(path.read_text(encoding="utf-8"))["miou"])


@cache
def _workbench(preset: str, artifacts: Path, weights: Path | None) -> ImageWorkbench:
    torch.set_num_threads(1)
    return prepare(preset, data_root=None, device="cpu", artifacts=artifacts, weights=weights)


if __name__ == "__main__":
    raise SystemExit(main())
