"""Searches over WeakCLIP's hyper-parameters with Optuna, on a split that no table reports.

Scores used for a choice must not be reported, so a search trains on `train` like any run but scores
on `tune`. It may stop a training early. That decision uses no annotation: it is based on the
seeding loss on held-out seeds.

References:
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
    Watanabe et al., "PED-ANOVA", IJCAI 2023 (importances).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from bench.errors import BenchError
from bench.search.source import module_source
from weakclip.config import CoAttention, LearnableContext, SeedAndBoundary, TextGuidedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage
    from optuna.trial import BaseTrial, FrozenTrial

    from bench.studies.workbench import Tuned
    from weakclip.config import WeakCLIPConfig
    from weakclip.training.recipe import Recipe

PRUNING_STARTUP = 5
"""Number of first trials that are not stopped early, as there are too few to compare with."""


@runtime_checkable
class SearchWorkbench(Protocol):
    """Trains any configuration with any recipe, and scores it on `tune`."""

    def run_on_tune(
        self,
        config: WeakCLIPConfig,
        recipe: Recipe,
        seed: int,
        *,
        report: Callable[[int, float], None],
    ) -> Tuned:
        """Train on `train` and score on `tune`.

        `report` is called at intervals with (steps done, seeding loss on held-out seeds); an
        exception that it raises ends the training.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Settings of a search: where it starts, its seeds, trials and objectives."""

    name: str
    config: WeakCLIPConfig
    recipe: Recipe
    seeds: tuple[int, ...] = (0,)
    """The score of a trial is the mean over trainings with these seeds."""
    trials: int = 40
    by_time_too: bool = False
    """Whether there are two objectives, mIoU and training time; then no trial is stopped early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of the trials of a search so far."""

    best: FrozenTrial
    """The trial with the highest mIoU."""
    config: WeakCLIPConfig
    recipe: Recipe
    rows: list[dict[str, object]]
    """One per trial: number, state, miou, seconds, pareto, then the parameters."""
    importances: dict[str, float]
    """Parameter -> fraction of the variance of mIoU that it explains; empty with few trials."""


def suggest(trial: BaseTrial, search: Search) -> tuple[WeakCLIPConfig, Recipe]:
    """Return the configuration and recipe of a trial.

    Raises:
        ValueError: If a component is off in the configuration of the search.
    """
    config = search.config
    prompt, matching, decoder = config.prompt, config.matching, config.decoder
    supervision = config.supervision
    if not (
        isinstance(prompt, LearnableContext)
        and isinstance(matching, CoAttention)
        and isinstance(decoder, TextGuidedDecoder)
        and isinstance(supervision, SeedAndBoundary)
    ):
        raise ValueError(
            "search: expected a configuration with learnable context, co-attention, text-guided "
            "decoder, seeding and boundary losses; start from weakclip.config.MICRO or PAPER"
        )
    real = trial.suggest_float
    return (
        replace(
            config,
            prompt=replace(prompt, length=trial.suggest_int("prompt_length", 0, 16)),
            matching=replace(
                matching,
                depth=trial.suggest_int("matching_depth", 1, 3),
                dropout=real("matching_dropout", 0.0, 0.3),
            ),
            decoder=replace(decoder, score_scale=real("score_scale", 1.0, 30.0, log=True)),
            supervision=replace(
                supervision,
                boundary_weight=real("boundary_weight", 0.0, 2.0),
                matching_weight=real("matching_weight", 0.0, 1.0),
            ),
            tau=real("tau", 0.01, 0.3, log=True),
        ),
        replace(
            search.recipe,
            learning_rate=real("learning_rate", 3e-4, 3e-2, log=True),
            weight_decay=real("weight_decay", 1e-5, 1e-1, log=True),
        ),
    )


def objective(trial: BaseTrial, search: Search, bench: SearchWorkbench) -> tuple[float, ...]:
    """Train and score one trial; return mIoU, or mIoU and seconds.

    Raises:
        optuna.TrialPruned: If the seeding loss on held-out seeds is above the median of trials.
    """
    config, recipe = suggest(trial, search)
    outcomes = []
    for index, seed in enumerate(search.seeds):
        offset = index * recipe.iterations

        def report(step: int, criterion: float, offset: int = offset) -> None:
            if search.by_time_too:
                return  # Optuna cannot prune with several objectives
            trial.report(-criterion, offset + step)  # the study maximises
            if trial.should_prune():
                raise optuna.TrialPruned

        outcomes.append(bench.run_on_tune(config, recipe, seed, report=report))
    miou = float(np.mean([outcome.miou for outcome in outcomes]))
    seconds = float(np.mean([outcome.seconds for outcome in outcomes]))
    trial.set_user_attr("seconds", seconds)
    return (miou, seconds) if search.by_time_too else (miou,)


def run_search(
    search: Search,
    bench: SearchWorkbench,
    storage: BaseStorage | str | None,
    *,
    tell: Callable[[str], None],
) -> Found:
    """Run trials until there are as many as requested, and return the result.

    An interrupted search is resumed; several processes may share a storage. Without a storage the
    trials are kept in memory. `tell` is called with one line per trial.

    Raises:
        BenchError: If no trial has finished.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"weakclip-search-{search.name}{'-by-time' if search.by_time_too else ''}",
        storage=storage,
        load_if_exists=True,
        directions=["maximize", "minimize"] if search.by_time_too else ["maximize"],
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNING_STARTUP),
    )
    while (begun := len(_ended(study))) < search.trials:
        # a new seed for each trial: otherwise a resumed search would repeat its first points
        study.sampler = optuna.samplers.TPESampler(seed=begun)
        study.optimize(partial(objective, search=search, bench=bench), n_trials=1)
        trial = _ended(study)[-1]
        tell(f"trial {trial.number}: {trial.state.name.lower()} {trial.values or ''}")
    return found_by(study, search)


def found_by(study: optuna.Study, search: Search) -> Found:
    """Return the result of the finished trials of a search.

    Raises:
        BenchError: If no trial has finished.
    """
    done = study.get_trials(states=(TrialState.COMPLETE,))
    if not done:
        raise BenchError(f"search {search.name!r}: expected a finished trial, got none")
    best = max(done, key=lambda trial: trial.values[0])
    config, recipe = suggest(optuna.trial.FixedTrial(best.params), search)
    front = {trial.number for trial in done if not any(_dominates(t, trial) for t in done)}
    return Found(
        best=best,
        config=config,
        recipe=recipe,
        rows=[_row(trial, pareto=trial.number in front) for trial in _ended(study)],
        importances=_importances(study, len(done)),
    )


def python_source(found: Found, search: Search) -> str:
    """Return a module with `CONFIG` and `RECIPE`, for studies to import."""
    description = (
        f"Found by `python -m bench search`, search {search.name!r}: trial {found.best.number} of "
        f"{len(found.rows)}.\n\nmIoU {100 * found.best.values[0]:.2f} % on split `tune`, mean over "
        f"the seeds {list(search.seeds)}. Generated; do not edit.\n"
    )
    return module_source(description, {"CONFIG": found.config, "RECIPE": found.recipe})


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _dominates(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether a trial is better in mIoU or time and worse in neither."""
    a, b = ((t.values[0], -float(t.user_attrs["seconds"])) for t in (one, other))
    return a != b and a[0] >= b[0] and a[1] >= b[1]


def _row(trial: FrozenTrial, *, pareto: bool) -> dict[str, object]:
    done = trial.state == TrialState.COMPLETE
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "miou": trial.values[0] if done else np.nan,
        "seconds": trial.user_attrs["seconds"] if done else np.nan,
        "pareto": pareto,
        **dict(sorted(trial.params.items())),
    }


def _importances(study: optuna.Study, done: int) -> dict[str, float]:
    """Importances for a high mIoU; as the evaluator assumes low targets, mIoU is negated."""
    if done < 2 * PRUNING_STARTUP:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
            target=lambda trial: -float(trial.values[0]),
        )
