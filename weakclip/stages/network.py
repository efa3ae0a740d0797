"""WeakCLIP trained on seeds from disk, and read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from weakclip.config import SeedAndBoundary
from weakclip.network.build import build_model
from weakclip.network.checkpoints import ModelCard, load_components, save_components
from weakclip.network.taps import StandardisedTaps, tap_statistics
from weakclip.training.execution import REFERENCE
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision
from weakclip.training.memory import is_out_of_memory
from weakclip.training.parallel import ALONE
from weakclip.training.stream import ViewSpec, ViewStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.network.model import WeakCLIP
    from weakclip.stages.folder import ResultFolder
    from weakclip.stages.plan import SeededTraining
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes
    from weakclip.training.recipe import Recipe
    from weakclip.training.stream import Seeded

_OTHER_GRID = 32  # side of the views' small images where no loss looks at them


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What a network is, before it is trained."""

    method: SeededTraining
    class_names: tuple[str, ...]
    """K names, background first."""
    seed: int
    execution: Execution = REFERENCE
    """How it is trained."""


def train_network(
    spec: NetworkSpec,
    clip: CLIPBundle,
    data: tuple[Callable[[int], Seeded], int],
    folder: ResultFolder,
    report: Callable[[int, int], None],
    processes: Processes = ALONE,
) -> tuple[WeakCLIP, list[dict[str, float]], int]:
    """Train on seeds and save the network; an interrupted training goes on where it was.

    Args:
        spec: The network.
        clip: The frozen CLIP.
        data: A reader of image and seeds by position, and how many there are.
        folder: Where network and state are kept.
        report: Called with (steps done, steps in all).
        processes: Who trains it together; the first saves it.

    Returns:
        The network in evaluation mode, its losses, and the batch size, which is smaller than the
        recipe's if memory ran out (the training then starts again; among several processes,
        running out of memory ends all).

    Raises:
        ValueError: If the processes cannot share a batch equally.
    """
    recipe = spec.method.recipe
    while True:
        try:
            model, curve = _train(spec, clip, data, recipe, (folder, report, processes))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or recipe.batch_size == 1 or processes.count > 1:
                raise
        else:
            if processes.first:
                save_components(folder.model, model, card_of(spec, clip))
                folder.training(recipe.batch_size).unlink(missing_ok=True)
            return model, curve, recipe.batch_size
        folder.training(recipe.batch_size).unlink(missing_ok=True)
        recipe = replace(recipe, batch_size=recipe.batch_size // 2)


def load_network(path: Path, spec: NetworkSpec, clip: CLIPBundle) -> WeakCLIP:
    """A network that `train_network` saved, in evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it was saved for other classes, another config or another CLIP.
    """
    model = _build(spec, clip, torch.ones(2, 4, clip.image.width))  # overwritten
    load_components(path, model, card_of(spec, clip))
    return model.eval()


def card_of(spec: NetworkSpec, clip: CLIPBundle) -> ModelCard:
    """What has to agree for a saved network to be used."""
    return ModelCard.of(spec.method.config, spec.class_names, clip)


def _build(spec: NetworkSpec, clip: CLIPBundle, statistics: Tensor) -> WeakCLIP:
    """The network with these statistics of its taps, (2, 4, D)."""
    model = build_model(spec.method.config, clip, spec.class_names, seed=spec.seed)
    device = clip.image.vision.proj.device
    model.adapter = StandardisedTaps(statistics, model.adapter).to(device)
    return model


def _train(
    spec: NetworkSpec,
    clip: CLIPBundle,
    data: tuple[Callable[[int], Seeded], int],
    recipe: Recipe,
    kept: tuple[ResultFolder, Callable[[int, int], None], Processes],
) -> tuple[WeakCLIP, list[dict[str, float]]]:
    config, (folder, report, processes) = spec.method.config, kept
    losses = config.supervision
    stream = ViewStream(
        *data,
        ViewSpec(
            framing=spec.method.framing,
            views=spec.method.views,
            grid=losses.grid if isinstance(losses, SeedAndBoundary) else _OTHER_GRID,
            crf=losses.crf if isinstance(losses, SeedAndBoundary) else None,
            batch_size=recipe.batch_size,
            seed=spec.seed,
            execution=spec.execution,
        ),
        clip,
        clip.image.configured(taps=config.taps, class_token=config.class_token),
        processes=processes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        model = _build(spec, clip, tap_statistics(stream.plain_features()))
        curve = fit(
            model,
            build_supervision(losses, config.tau),
            stream,
            recipe,
            report=report,
            resume=folder.training(recipe.batch_size),
            processes=processes,
            execution=spec.execution,
        )
    return model, curve
