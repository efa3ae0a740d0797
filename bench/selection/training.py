"""A training that keeps its checkpoints: it is trained once, and every rule chooses one.

A tenth of the tagged images is held out of the training, for the measures of the rules. The oracle
scores all training images against the annotation.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.oracle.score import oracle_miou
from bench.selection.rules import Rule, Signals, chosen
from bench.selection.signals import agreement, crf_energy, found_classes
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.atomic import write_text
from weakclip.description import describe
from weakclip.stages.images import WorkingImages
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.refine import Power, with_background
from weakclip.training.parallel import together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from weakclip.crf.dense import CRFConfig
    from weakclip.stages.kept_seeds import KeptSeeds
    from weakclip.stages.network import SeededTraining, TrainedWeakCLIP
    from weakclip.stages.protocols import Setting, TaggedImages

BATCH = 50
AVERAGE = "average"
SIGNALS = "signals.json"
_BACKGROUND = Power(alpha=1)  # background of the maps in the unary energies


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedTraining:
    """WeakCLIP at the checkpoint of a rule; a `weakclip.stages.protocols.RefinementSpec`."""

    training: SeededTraining
    rule: Rule
    crf: CRFConfig
    """Dense CRF of the energy."""
    states: int = 10
    """Number of checkpoints, at equal intervals; the last is the end of the training."""
    held_out: float = 0.1
    """Fraction of the tagged images that are held out of the training."""
    decay: float = 0.98
    """Decay per step of the moving average of the weights."""

    def build(self, setting: Setting) -> SelectedWeakCLIP:
        """The refinement, not fitted."""
        return SelectedWeakCLIP(self, setting)


class Part:
    """A subset of the seeds of a split."""

    def __init__(self, seeds: KeptSeeds, positions: Sequence[int]) -> None:
        """Take seeds and the positions of the subset."""
        self._seeds, self._positions = seeds, list(positions)
        self.indices = tuple(seeds.indices[position] for position in positions)
        """Image of each position."""

    @property
    def key(self) -> str:
        """Hash of everything that the seeds depend on."""
        return content_key(self._seeds.key, self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int, /) -> Tensor:
        """Seeds at a position, (H, W), int64, 255 = undecided."""
        return self._seeds[self._positions[position]]


def parted(seeds: KeptSeeds, held_out: float) -> tuple[Part, Part]:
    """Seeds for training, and held-out seeds; the partition is the same for every training.

    Raises:
        ValueError: If there are fewer than two tagged images.
    """
    if len(seeds) < 2:
        raise ValueError(f"selection: expected two tagged images or more, got {len(seeds)}")
    count = min(max(1, round(held_out * len(seeds))), len(seeds) - 1)
    order = np.random.default_rng(0).permutation(len(seeds)).tolist()
    return Part(seeds, sorted(order[count:])), Part(seeds, sorted(order[:count]))


class SelectedWeakCLIP:
    """A `Refinement` and a `Segmenter`: the network of the chosen checkpoint."""

    def __init__(self, spec: SelectedTraining, setting: Setting) -> None:
        self.spec, self._setting = spec, setting
        self._network: TrainedWeakCLIP = spec.training.build(setting)
        self.curve: list[dict[str, float]] = []
        """Losses of the training, and measurements of its checkpoints."""

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Train and measure, unless done for another rule, and load the chosen checkpoint.

        Raises:
            TypeError: If `data` is not `WorkingImages`.
            ValueError: If there are fewer than two tagged images.
        """
        if not isinstance(data, WorkingImages):
            raise TypeError(f"selection: expected WorkingImages, got {type(data).__name__}")
        spec, setting = self.spec, self._setting
        seeds = ensure_seeds(cams, data, spec.training.rule, setting)
        key = content_key(
            describe(replace(spec, rule="last-step")), seed, seeds.key, data.key, setting.key,
            setting.execution.arithmetic, code_id(__name__),
        )  # fmt: skip
        folder = setting.place(f"trajectory-{key}")
        with together(folder, setting.processes):
            if not (folder / SIGNALS).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                learnt, held_out = parted(seeds, spec.held_out)
                losses = self._train(data, learnt, folder, seed, report)
                states = self._measure(data, held_out, cams, folder)
                content = {"losses": losses, "states": [asdict(state) for state in states]}
                write_text(folder / SIGNALS, json.dumps(content))
        content = json.loads((folder / SIGNALS).read_text(encoding="utf-8"))
        states = [Signals(**state) for state in content["states"]]
        self._network.load(folder / _file(chosen(spec.rule, states)))
        self.curve = [*content["losses"], *map(_point, states)]

    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.Refinement`."""
        return self._network.scores(images, image_labels, cams)

    def probabilities(self, images: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.Segmenter`."""
        return self._network.probabilities(images)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of each component and of the frozen towers."""
        return self._network.parameter_counts()

    def _train(
        self,
        data: WorkingImages,
        seeds: Part,
        folder: Path,
        seed: int,
        report: Callable[[int, int], None],
    ) -> list[dict[str, float]]:
        """Train from the start, write the checkpoints and the average, and return the losses."""
        spec = self.spec
        average: dict[str, dict[str, Tensor]] = {}
        with TemporaryDirectory(prefix="selection-", dir=self._setting.folder) as kept:
            network = spec.training.build(replace(self._setting, folder=Path(kept)))

            def watched(step: int, total: int) -> None:
                _average(average, network, spec.decay)
                if step in steps_of(total, spec.states):
                    network.save(folder / _name(step))
                report(step, total)

            network.fit_on_seeds(data, seeds, seed=seed, report=watched)
        for name, part in network.model.components.items():
            part.load_state_dict(average[name])
        network.save(folder / _name(AVERAGE))
        return network.curve

    def _measure(
        self, data: WorkingImages, held_out: Part, maps: Sequence[Tensor], folder: Path
    ) -> list[Signals]:
        total = self.spec.training.recipe.iterations
        steps = steps_of(total, self.spec.states)
        states = [(step, False, _name(step)) for step in steps] + [(total, True, _name(AVERAGE))]
        found = []
        for step, is_average, name in states:
            network = self.spec.training.build(self._setting)
            network.load(folder / name)
            loss, energy, agreed = self._held_out(network, data, held_out, maps)
            found.append(
                Signals(
                    step=step,
                    is_average=is_average,
                    held_out_seed_loss=loss,
                    crf_energy=energy,
                    tag_agreement=agreed,
                    oracle_miou=oracle_miou(network, data, self._setting, BATCH),
                )
            )
        return found

    def _held_out(
        self, network: TrainedWeakCLIP, data: WorkingImages, held_out: Part, maps: Sequence[Tensor]
    ) -> tuple[float, float, float]:
        """Seeding loss, CRF energy and tag agreement on held-out images."""
        places = {index: place for place, index in enumerate(held_out.indices)}
        losses, energies, found, tags = [], [], [], []
        for group in data.groups(held_out.indices, BATCH):
            images, labels = data.stack(group, self._setting.device)
            seeds = torch.stack([held_out[places[index]] for index in group]).to(images.device)
            probabilities = network.probabilities(images)
            cams = torch.stack([maps[index] for index in group]).to(images.device)
            size = (int(images.shape[2]), int(images.shape[3]))
            start = with_background(cams, size, _BACKGROUND)
            losses += [network.held_out_loss(images, seeds)] * len(group)
            energies += crf_energy(images, probabilities, start, labels, self.spec.crf).tolist()
            found.append(found_classes(probabilities).cpu())
            tags.append(labels.cpu())
        agreed = agreement(torch.cat(found), torch.cat(tags))
        return float(np.mean(losses)), float(np.mean(energies)), agreed


def steps_of(total: int, states: int) -> list[int]:
    """Steps after which a checkpoint is kept, including the last step.

    Example:
        >>> steps_of(340, 4), steps_of(3, 10)
        ([85, 170, 255, 340], [1, 2, 3])
    """
    return sorted({max(1, round(total * part / states)) for part in range(1, states + 1)})


def _average(average: dict[str, dict[str, Tensor]], network: TrainedWeakCLIP, decay: float) -> None:
    """Update a moving average of all weights; it starts with those of the first step."""
    for name, part in network.model.components.items():
        state = {key: value.detach().clone() for key, value in part.state_dict().items()}
        old = average.setdefault(name, state)
        for key, value in state.items():
            moved = old[key].lerp(value, 1 - decay) if value.is_floating_point() else value
            old[key] = moved


def _name(state: int | str) -> str:
    return f"{state}.safetensors"


def _file(state: Signals) -> str:
    return _name(AVERAGE if state.is_average else state.step)


def _point(state: Signals) -> dict[str, float]:
    """The measurements of a checkpoint as a row of a record's curve."""
    values = asdict(state)
    head = "average_" if values.pop("is_average") else ""
    step = values.pop("step")
    return {"step": step, **{f"{head}{name}": value for name, value in values.items()}}
