"""Pretraining of micro-CLIP: contrastive learning on images and captions.

It uses no class labels and no class prompts. A curriculum compensates for the small scale of the
data: first small crops with their own captions, then whole scenes mixed with mosaics of four crops,
whose quadrants are matched to their captions. The quadrants are known by construction; no mask and
no box is used. Images with identical captions count as matching.

Source: CLIP (Radford et al. 2021); Muon (Jordan et al. 2024) for the blocks' matrices.
Run: `python -m bench.cartoon.pretraining.clip` (resumes where it stopped).
Cost: about two hours on one CPU core, in addition to drawing the pools.
Expect: `docs/preregistration.md`, gate 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bench.cartoon.caption import class_prompt, tokenizer
from bench.cartoon.pretraining.embeddings import image_embeddings, mosaics, text_embeddings
from bench.cartoon.pretraining.muon import cosine, optimisers, update
from bench.cartoon.pretraining.pool import CONTEXT, WEB, PoolSpec, ensure_pool
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import DISPLAY_NAMES
from bench.cartoon.world import WorldConfig
from weakclip.clip.micro import MicroConfig, build_micro, normalise, save_micro
from weakclip.data.atomic import replacing, write_text
from weakclip.training.execution import full_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from torch import Tensor

    from bench.cartoon.pretraining.pool import Pool

logger = logging.getLogger(__name__)

POOL_SEED, HELD_OUT_SEED = 21_000, 22_000
"""Seeds of the pools and of the held-out scenes; no split of CartoonVOC uses them."""
POOL_IMAGES = {"tile": 96_000, "scene": 40_000}
CONFIG = MicroConfig(width=160, layers=6, embed_dim=128, text_width=128, text_layers=2)
HELD_OUT = 400
WARMUP_STEPS = 60
EVALUATE_EVERY = 100  # steps; also the interval of checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the curriculum with its own cosine schedule.

    Attributes:
        name: Name in the log, and of the folder of the weights.
        samples: Number of training images: crops, or mosaics and scenes.
        batch: Images per step.
        mosaics: Fraction of the steps on mosaics; None for a stage of single crops.
        learning_rate: Learning rate of AdamW.
        muon: Learning rate of Muon.
    """

    name: str
    samples: int
    batch: int
    mosaics: float | None
    learning_rate: float
    muon: float


RECIPE = (
    Stage(
        name="tiles", samples=320_000, batch=256, mosaics=None, learning_rate=2e-3, muon=0.02
    ),
    Stage(name="mosaics", samples=110_000, batch=80, mosaics=0.5, learning_rate=2e-3, muon=0.02),
    Stage(
        name="polish", samples=110_000, batch=80, mosaics=0.5, learning_rate=1.5e-3, muon=0.012
    ),
    Stage(name="longer", samples=150_000, batch=80, mosaics=0.8, learning_rate=1.2e-3, muon=0.01),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a pretraining.

    Attributes:
        budget: Fraction of the recipe's samples.
        seed: Random seed of weights and batches.
        workers: Number of processes that draw the pools; 0 draws them in this process.
        recipe: The stages.
        model: Configuration of the model.
        pools: Images in the pools of crops and of scenes.
    """

    budget: float = 1.0
    seed: int = 0
    workers: int = 1
    recipe: tuple[Stage, ...] = RECIPE
    model: MicroConfig = CONFIG
    pools: tuple[int, int] = (POOL_IMAGES["tile"], POOL_IMAGES["scene"])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or resume training, and write the weights of each stage."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cartoon.pretraining.clip", description=__doc__
    )
    parser.add_argument("--budget", type=float, default=1.0, help="share of the recipe's samples")
    parser.add_argument("--out", type=Path, default=Path("artifacts/pretraining"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.budget <= 0:
        parser.error(f"--budget: expected a positive share of the recipe, got {args.budget}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    full_float32()
    torch.set_num_threads(args.threads)
    plan = Plan(budget=args.budget, seed=args.seed, workers=args.threads)
    try:
        Pretraining(args.out, plan).run()
    except ValueError as error:
        parser.error(str(error))
    return 0


class Pretraining:
    """The model, its optimisers and their progress in the curriculum."""

    def __init__(self, out: Path, plan: Plan) -> None:
        """Initialise the model; all files are written to `out`."""
        self.out, self.plan = out, plan
        torch.manual_seed(plan.seed)
        self.tokenize = tokenizer(CONTEXT)
        self.model = build_micro(plan.model, len(self.tokenize))
        self.muon, self.adamw = optimisers(self.model)
        self.stage = self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float | str]] = []
        self._held_out: dict[float, Tensor] = {}
        left, right = (int(self.tokenize([word])[0, 1]) for word in ("left", "right"))
        self._mirrored = np.arange(len(self.tokenize))
        self._mirrored[[left, right]] = right, left

    def run(self) -> None:
        """Train from the last checkpoint on; write the weights of each stage and the curve."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        while self.stage < len(self.plan.recipe):
            stage = self.plan.recipe[self.stage]
            self._run_stage(stage)
            folder = self.out / stage.name
            folder.mkdir(exist_ok=True)
            save_micro(folder, self.plan.model, self.tokenize.vocabulary, self.model)
            self.stage, self.step = self.stage + 1, 0
            self._checkpoint()
        lines = ["stage,step,samples,seconds,loss,seen,unseen"]
        lines += [",".join(str(value) for value in row.values()) for row in self.curve]
        write_text(self.out / "curve.csv", "\n".join(lines) + "\n")

    def _run_stage(self, stage: Stage) -> None:
        steps = max(1, round(stage.samples * self.plan.budget / stage.batch))
        pools = {"tile": self._pool("tile")}
        if stage.mosaics is not None:
            pools["scene"] = self._pool("scene")
        started, losses = time.monotonic() - self.seconds, []
        for step in range(self.step, steps):
            generator = np.random.default_rng([self.plan.seed, self.stage, step])
            losses.append(self._train_step(stage, pools, generator, step, step / steps))
            self.step = step + 1
            if self.step % EVALUATE_EVERY == 0 or self.step == steps:
                self.seconds = time.monotonic() - started
                self._record(stage, float(np.mean(losses)))
                losses = []
                self._checkpoint()

    def _pool(self, kind: str) -> Pool:
        tiles, scenes = self.plan.pools
        side = self.plan.model.image_size
        tile = kind == "tile"
        spec = PoolSpec(
            kind="tile" if tile else "scene",
            images=tiles if tile else scenes,
            size=side // 2 if tile else side,
            seed=POOL_SEED + (not tile),
            world=replace(WEB, size=side),
        )
        return ensure_pool(self.out, spec, workers=self.plan.workers)

    def _train_step(
        self, stage: Stage, pools: dict[str, Pool], generator: Generator, step: int, progress: float
    ) -> float:
        kind = "tile"
        if stage.mosaics is not None:
            kind = "mosaic" if generator.random() < stage.mosaics else "scene"
        images, tokens = self._batch(pools, kind, stage.batch, generator)
        pictures = image_embeddings(self.model, self.plan.model, images, kind, generator)
        loss = contrastive(pictures, self._texts(tokens), tokens, self.model.logit_scale.exp())
        rate = min(1.0, (step + 1) / WARMUP_STEPS) * cosine(progress)
        rates = (stage.learning_rate * rate, stage.muon * rate)
        return update(self.model, loss, self.adamw, self.muon, rates)

    def _batch(
        self, pools: dict[str, Pool], kind: str, batch: int, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, S, S) and token ids (N, L); N = 4 B for mosaics."""
        pool = pools["scene" if kind == "scene" else "tile"]
        count = batch * (4 if kind == "mosaic" else 1)
        picked = generator.integers(0, len(pool.images), count)
        flipped = generator.random(count) < 0.5
        images = pool.images[picked]
        images[flipped] = images[flipped][:, :, ::-1]
        tokens = pool.tokens[picked, generator.integers(0, pool.tokens.shape[1], count)]
        tokens = np.where(flipped[:, None], self._mirrored[tokens], tokens).astype(np.int64)
        if kind == "mosaic":
            images = mosaics(images)
        return normalise(torch.from_numpy(np.ascontiguousarray(images))), torch.from_numpy(tokens)

    def _texts(self, tokens: Tensor) -> Tensor:
        """Unit-length text embeddings, (N, E), from token ids (N, L)."""
        return functional.normalize(text_embeddings(self.model, tokens), dim=-1)

    @torch.no_grad()
    def top1(self, distance: float) -> float:
        """Zero-shot accuracy on 400 held-out scenes with one object, at a style distance."""
        if distance not in self._held_out:
            world = WorldConfig(
                size=self.plan.model.image_size, style_distance=distance, unnamed_objects=0.0
            )
            scenes = [
                sample_scene(world, HELD_OUT_SEED, i, classes=(i % 20,), objects=1, occluders=False)
                for i in range(HELD_OUT)
            ]
            self._held_out[distance] = torch.from_numpy(np.stack([s.image for s in scenes]))
        self.model.eval()
        prompts = self.tokenize([class_prompt("a photo of a {}", name) for name in DISPLAY_NAMES])
        texts = self._texts(prompts)
        hits = [
            (self.model.encode_image(normalise(part)) @ texts.T).argmax(dim=1)
            for part in torch.split(self._held_out[distance], 100)
        ]
        self.model.train()
        return float((torch.cat(hits) == torch.arange(HELD_OUT) % 20).float().mean())

    def _record(self, stage: Stage, loss: float) -> None:
        row: dict[str, float | str] = {
            "stage": stage.name, "step": self.step, "samples": self.step * stage.batch,
            "seconds": round(self.seconds, 1), "loss": round(loss, 4),
            "seen": self.top1(0.0), "unseen": self.top1(1.0),
        }  # fmt: skip
        self.curve.append(row)
        scale = float(self.model.logit_scale.detach().exp())
        logger.info("%s scale %.1f", " ".join(f"{k} {v}" for k, v in row.items()), scale)

    def _checkpoint(self) -> None:
        state = {
            "model": self.model.state_dict(), "adamw": self.adamw.state_dict(),
            "muon": self.muon.state_dict(), "stage": self.stage, "step": self.step,
            "seconds": self.seconds, "curve": self.curve, "made": self._made(),
        }  # fmt: skip
        with replacing(self.out / "checkpoint.pt") as part:
            torch.save(state, part)

    def _made(self) -> str:
        return repr((self.plan.budget, self.plan.seed, asdict(self.plan.model)))

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["made"] != self._made():
            raise ValueError(
                f"{path}: made with budget, seed and model {state['made']}, asked for "
                f"{self._made()}; give another --out or delete the folder"
            )
        self.model.load_state_dict(state["model"])
        self.adamw.load_state_dict(state["adamw"])
        self.muon.load_state_dict(state["muon"])
        self.stage, self.step = state["stage"], state["step"]
        self.seconds, self.curve = state["seconds"], state["curve"]
        logger.info("resumed at stage %d, step %d", self.stage, self.step)


def contrastive(images: Tensor, texts: Tensor, tokens: Tensor, scale: Tensor) -> Tensor:
    """Symmetric contrastive loss in which all images with the same caption match.

    Args:
        images: Unit-length image embeddings, (N, E).
        texts: Unit-length embeddings of their captions, (N, E).
        tokens: Token ids of the captions, (N, L); equal rows are the same caption.
        scale: Factor on the cosines.

    Returns:
        Mean cross-entropy of both directions; the target is uniform over all matches.
    """
    logits = scale * images @ texts.T
    _, group = torch.unique(tokens, dim=0, return_inverse=True)
    target = (group[:, None] == group[None]).float()
    target = target / target.sum(dim=1, keepdim=True)
    pair = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    return pair / 2


if __name__ == "__main__":
    raise SystemExit(main())
