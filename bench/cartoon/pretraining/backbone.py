"""Pretraining of micro-backbone: prediction of the words of an image's captions.

It uses the pools of micro-CLIP, and replaces ImageNet pretraining for CAM, CLIMS, AffinityNet and
retraining. The labels are the words that occur in fewer than one caption in twenty: names of
objects and places, colours, weather. The words of an image's captions share the target of a
softmax, which suits many labels better than a binary decision per word.

Source: Joulin et al., "Learning Visual Features from Large Weakly Supervised Data", ECCV 2016.
Run: `python -m bench.cartoon.pretraining.backbone` (resumes where it stopped).
Cost: about an hour on one CPU core, after the pools of micro-CLIP.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from bench.cartoon.caption import tokenizer
from bench.cartoon.pretraining.clip import POOL_IMAGES, POOL_SEED
from bench.cartoon.pretraining.muon import cosine
from bench.cartoon.pretraining.pool import CONTEXT, WEB, PoolSpec, ensure_pool
from weakclip.convnet.backbone import MEAN, MICRO_BACKBONE, STD, Backbone, Stages
from weakclip.data.atomic import replacing
from weakclip.training.execution import full_float32
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.cartoon.pretraining.pool import Pool

logger = logging.getLogger(__name__)

NETWORK = replace(MICRO_BACKBONE, stride=16, weights=None)
"""The network in pretraining; its users set the stride of the last stage themselves."""
WEIGHTS = "micro-backbone.safetensors"
COMMON = 0.05
WARMUP_STEPS, REPORT_EVERY, CHECKPOINT_EVERY = 50, 50, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a pretraining.

    Attributes:
        steps: Optimiser steps.
        batch: Crops per step; steps on whole scenes have a quarter as many images.
        scenes: Fraction of the steps on whole scenes.
        learning_rate: Peak learning rate of SGD with momentum 0.9.
        seed: Random seed of weights and batches.
        workers: Number of processes that draw the pools; 0 draws them in this process.
        network: Configuration of the network.
        pools: Images in the pools of crops and of scenes.
    """

    steps: int = 8000
    batch: int = 96
    scenes: float = 0.3
    learning_rate: float = 0.2
    seed: int = 0
    workers: int = 1
    network: Backbone = NETWORK
    pools: tuple[int, int] = (POOL_IMAGES["tile"], POOL_IMAGES["scene"])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or resume training, and write the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cartoon.pretraining.backbone", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("artifacts/pretraining"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=Plan().steps)
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f"--steps: expected 1 or more, got {args.steps}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    full_float32()
    torch.set_num_threads(args.threads)
    BackbonePretraining(args.out, Plan(steps=args.steps, workers=args.threads)).run()
    return 0


class BackbonePretraining:
    """The network, its classifier of words, and the progress of their training."""

    def __init__(self, out: Path, plan: Plan) -> None:
        """Initialise the network and draw the pools; all files are written to `out`."""
        self.out, self.plan = out, plan
        torch.manual_seed(plan.seed)
        self.stages = Stages(plan.network)
        out.mkdir(parents=True, exist_ok=True)
        self.pools = [self._pool(tile=True), self._pool(tile=False)]
        self.words = label_words(self.pools[0].tokens)
        self.head = nn.Linear(self.stages.widths[-1], len(self.words))
        self.optimiser = torch.optim.SGD(
            [*self.stages.parameters(), *self.head.parameters()],
            lr=plan.learning_rate, momentum=0.9, nesterov=True, weight_decay=1e-4,
        )  # fmt: skip
        self.step = 0

    def run(self) -> None:
        """Train from the last checkpoint on, and write the weights."""
        self._resume()
        losses, started = [], time.monotonic()
        while self.step < self.plan.steps:
            losses.append(self._train_step())
            self.step += 1
            if self.step % REPORT_EVERY == 0:
                seconds = time.monotonic() - started
                logger.info("step %d, %.0f s, loss %.3f", self.step, seconds, np.mean(losses))
                losses = []
            if self.step % CHECKPOINT_EVERY == 0:
                self._checkpoint()
        tensors = {
            name: tensor.to(torch.float16).contiguous() if tensor.is_floating_point() else tensor
            for name, tensor in self.stages.network_state().items()
        }
        with replacing(self.out / WEIGHTS) as part:
            part.write_bytes(save(tensors))

    def _pool(self, *, tile: bool) -> Pool:
        spec = PoolSpec(
            kind="tile" if tile else "scene",
            images=self.plan.pools[0 if tile else 1],
            size=64 if tile else 128,
            seed=POOL_SEED + (not tile),
            world=replace(WEB, size=128),
        )
        return ensure_pool(self.out, spec, workers=self.plan.workers)

    def _train_step(self) -> float:
        generator = np.random.default_rng([self.plan.seed, self.step])
        whole = generator.random() < self.plan.scenes
        pool, count = self.pools[whole], self.plan.batch // (4 if whole else 1)
        picked = generator.integers(0, len(pool.images), count)
        images = pool.images[picked]
        flipped = generator.random(count) < 0.5
        images[flipped] = images[flipped][:, :, ::-1]
        target = word_targets(pool.tokens[picked], self.words)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        features = self.stages(normalise_images(pixels, MEAN, STD))[-1].mean(dim=(2, 3))
        loss = functional.cross_entropy(self.head(features), target)
        for group in self.optimiser.param_groups:
            warm = min(1.0, (self.step + 1) / WARMUP_STEPS)
            group["lr"] = self.plan.learning_rate * warm * cosine(self.step / self.plan.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def _checkpoint(self) -> None:
        state = {
            "stages": self.stages.state_dict(), "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(), "step": self.step, "made": self._made(),
        }  # fmt: skip
        with replacing(self.out / "backbone.pt") as part:
            torch.save(state, part)

    def _made(self) -> str:
        return repr((self.plan.steps, self.plan.seed, self.plan.network.channels))

    def _resume(self) -> None:
        path = self.out / "backbone.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["made"] != self._made():
            raise ValueError(
                f"{path}: made with steps, seed and channels {state['made']}, asked for "
                f"{self._made()}; give another --out or delete the file"
            )
        self.stages.load_state_dict(state["stages"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        logger.info("resumed at step %d", self.step)


def label_words(tokens: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Token ids that are labels, ascending: those in fewer than one caption in twenty.

    The frequencies are those in the first 20,000 captions.

    Args:
        tokens: Token ids of the captions of a pool, (N, C, L).
    """
    captions = tokens.reshape(-1, tokens.shape[-1])[:20_000]
    vocabulary = len(tokenizer(CONTEXT))
    said = np.zeros(vocabulary, dtype=np.int64)
    for row in captions:
        said[np.unique(row)] += 1
    rare = (said > 0) & (said < COMMON * len(captions))
    return np.flatnonzero(rare)


def word_targets(tokens: NDArray[np.uint16], words: NDArray[np.int64]) -> torch.Tensor:
    """Target distribution over the labels of each image: uniform over those in its captions.

    Args:
        tokens: Token ids of the captions, (B, C, L).
        words: Token ids of the labels, (W,).

    Returns:
        (B, W), float32; rows sum to 1, or to 0 without a label.
    """
    shown = np.zeros((len(tokens), len(tokenizer(CONTEXT))), dtype=np.float32)
    np.put_along_axis(shown, tokens.reshape(len(tokens), -1).astype(np.int64), 1.0, axis=1)
    labels = shown[:, words]
    return torch.from_numpy(labels / np.maximum(labels.sum(axis=1, keepdims=True), 1.0))


if __name__ == "__main__":
    raise SystemExit(main())
