"""Our training step against that of the release, on the same network and images.

The release does more work for the same result. It computes weight gradients of both frozen towers
and multiplies them by zero, stores attention matrices, runs the CRF image by image with new
lattices, includes the towers in the optimiser with rate 0, and computes a 4096 x 4096 distance
matrix per image that is not used. It runs adapter and decoder layer by layer
(`bench/cost/release_network.py`), while our code merges linear layers. Before anything is timed,
both steps are checked to agree.

The two steps are timed alternately, so that other load slows both. The ratio is the release's time
over ours, median of rounds. Both use our CRF, so the ratio compares the work and not the
implementation language. The distance matrix is computed here from the class probabilities; its cost
does not depend on the input.

Run: python -m bench.cost.release_cost --out results/perf          (without --out: stdout alone)
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.cost.profile import Options, environment_of
from bench.cost.release_network import layer_by_layer
from bench.cost.subject import BASES, SIZES, LibraryStep, make_subject, random_batch
from bench.cost.worker import milliseconds
from bench.errors import BenchError
from bench.runs.store import write_atomically
from weakclip.clip.tower import Features
from weakclip.config import SeedAndBoundary
from weakclip.crf.lattices import forget_position_lattices
from weakclip.training.execution import full_float32
from weakclip.training.losses import (
    boundary_loss,
    logits_on_grid,
    matching_loss,
    seeding_loss,
    seeds_on_grid,
)
from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from bench.cost.subject import Batch, Subject
    from weakclip.clip.tower import ImageTower
    from weakclip.network.model import WeakCLIP

    Step = Callable[[Batch], dict[str, Tensor]]

TOLERANCE = 5e-3
"""Largest allowed relative difference of a loss, and of the norm of a gradient, in float32. Usually
it is 1e-5, but a ReLU with an input near 0 may be active in one step only, which gives 1e-3."""


class ReleaseStep:
    """A training step with the result of `LibraryStep` and the work of the release."""

    def __init__(self, subject: Subject) -> None:
        """Copy a network, and make all parameters of the copy require gradients.

        Raises:
            BenchError: If it is not supervised by seeding and boundary losses.
        """
        spec = subject.config.supervision
        if not isinstance(spec, SeedAndBoundary):
            raise BenchError(f"release cost: expected SeedAndBoundary, got {type(spec).__name__}")
        recipe = Recipe()
        self.subject, self.spec = subject, spec
        self.model: WeakCLIP = copy.deepcopy(subject.model).train()
        learnt = self.model.trainable_parameters()
        for tower in (self.model.image_tower, self.model.text_tower):
            tower.requires_grad_(requires_grad=True)
        towers = [*self.model.image_tower.parameters(), *self.model.text_tower.parameters()]
        groups: list[dict[str, Any]] = [{"params": learnt}, {"params": towers, "lr": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Do one step; return the weighted losses by name, detached."""
        with sdpa_kernel(SDPBackend.MATH):
            features = encode_with_gradients(self.model.image_tower, batch.images)
            output = layer_by_layer(self.model, features)
            losses = self._losses(output.logits, output.score_map, batch)
            self.optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return {name: value.detach() for name, value in losses.items()}

    def _losses(self, logits: Tensor, score_map: Tensor, batch: Batch) -> dict[str, Tensor]:
        size = (self.spec.grid, self.spec.grid)
        logits = logits_on_grid(logits, size)
        seeds = seeds_on_grid(batch.seeds, size)
        unused_distances(logits)
        boundary = []
        for row in range(len(logits)):
            forget_position_lattices()
            one = slice(row, row + 1)
            grid_image = self.subject.grid_images(batch.images[one])
            boundary.append(boundary_loss(logits[one], grid_image, self.spec.crf))
        matched = batch.seeds if self.spec.matching_size == "image" else seeds
        return {
            "seeding": self.spec.seeding_weight * seeding_loss(logits, seeds),
            "boundary": self.spec.boundary_weight * torch.stack(boundary).mean(),
            "matching": self.spec.matching_weight
            * matching_loss(score_map, matched, tau=self.subject.config.tau),
        }


def encode_with_gradients(tower: ImageTower, images: Tensor) -> Features:
    """The result of `ImageTower.forward`, with a graph through open_clip's blocks."""
    tokens, grid = tower.embed(images)
    states = []
    for block in tower.vision.transformer.resblocks:
        tokens = block(tokens)
        states.append(tokens)
    global_embedding, dense_embedding = tower.read_out(tokens, grid)
    return Features(
        taps=tuple(
            torch.unflatten(states[tap][:, 1:].transpose(1, 2), -1, grid).contiguous()
            for tap in tower.taps
        ),
        global_embedding=global_embedding,
        dense_embedding=dense_embedding,
    )


@torch.no_grad()
def unused_distances(logits: Tensor) -> list[Tensor]:
    """Distances between all cells of each image, (g^2, g^2), as for a nearest-neighbour search."""
    cells = logits.softmax(dim=1).flatten(2).transpose(1, 2)
    return [torch.cdist(image, image) for image in cells]


def difference(ours: LibraryStep, release: ReleaseStep, batch: Batch) -> dict[str, float]:
    """Do both steps with the same dropout, and compare losses and gradients.

    Returns:
        `losses`: the largest relative difference of a loss; `gradients`: the largest norm of the
        difference of a parameter's gradients, divided by the larger of that gradient's norm and a
        thousandth of the norm of all gradients.

    Raises:
        BenchError: If they differ by more than `TOLERANCE`.
    """
    losses = []
    steps: tuple[Step, ...] = (ours, release)
    for step in steps:
        torch.manual_seed(0)
        losses.append(step(batch))
    apart = max(
        float((losses[1][name] - value).abs() / value.abs().clamp(min=1e-6))
        for name, value in losses[0].items()
    )
    pairs = list(
        zip(
            _gradients(ours.subject.model.trainable_parameters()),
            _gradients(release.optimiser.param_groups[0]["params"]),
            strict=True,
        )
    )
    whole = float(torch.stack([mine.norm() for mine, _ in pairs]).norm())
    gradient = max(
        float((mine - theirs).norm()) / max(float(mine.norm()), 1e-3 * whole)
        for mine, theirs in pairs
    )
    found = {"losses": apart, "gradients": gradient}
    if not max(apart, gradient) <= TOLERANCE:
        raise BenchError(f"release cost: expected equal steps within {TOLERANCE}, got {found}")
    return found


def measure_ratio(
    size: str, *, batch: int, rounds: int, threads: int, device: str
) -> dict[str, Any]:
    """Check that both steps agree, then time them alternately.

    Returns:
        The arguments, seconds of each round (`ours`, `release`), the median `ratio` of the two,
        and the `difference` of the steps.

    Raises:
        BenchError: If the steps do not agree.
    """
    full_float32()
    torch.set_num_threads(threads)
    subject = make_subject(BASES[size], size, device)
    release, ours = ReleaseStep(subject), LibraryStep(subject)
    images = random_batch(size, batch, device)
    apart = difference(ours, release, images)
    pairs = [
        tuple(milliseconds(partial(step, images), device) / 1e3 for step in (ours, release))
        for _ in range(rounds)
    ]
    return {
        "size": size, "batch": batch, "threads": threads, "rounds": rounds,
        "ours": [mine for mine, _ in pairs], "release": [theirs for _, theirs in pairs],
        "ratio": statistics.median(theirs / mine for mine, theirs in pairs),
        "difference": apart,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the ratio; return 0, or 1 if the steps disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="folder of release_cost-<size>-<device>.json")
    asked = vars(parser.parse_args(arguments))
    out = asked.pop("out")
    if min(asked["rounds"], asked["batch"], asked["threads"]) < 1:
        parser.error("expected a batch, rounds and threads of 1 or more")
    command = "python -m bench.cost.release_cost" + "".join(
        f" --{name} {value}" for name, value in asked.items()
    )
    options = Options(sizes=(asked["size"],), device=asked["device"], threads=asked["threads"])
    environment = environment_of(options, command)
    try:
        ratio = measure_ratio(**asked)
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if out is not None:
        text = json.dumps({**environment, **ratio}, indent=1) + "\n"
        path = out / f"release_cost-{asked['size']}-{asked['device']}.json"
        write_atomically(path, text.encode())
    sys.stdout.write(json.dumps(ratio) + "\n")
    return 0


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of parameters; zero for a parameter without gradient."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


if __name__ == "__main__":
    sys.exit(main())
