"""Pretraining of micro-CLIP: contrastive learning on image-caption pairs of CartoonVOC only.

Training on whole scenes only reaches 85 % zero-shot accuracy, but maps of 20 mIoU (`docs/log.md`):
high accuracy does not imply localisation. So the curriculum begins with *tiles*: small crops of a
scene with a caption of the crop, trained with a random window of the position embeddings. It
continues with *mosaics* of 2 x 2 tiles, where the mean token of each quadrant is matched to its own
caption, mixed with whole scenes. The supervision is text about images. The quadrants of a mosaic
are known by construction, without any mask or box.

Source: CLIP (Radford et al. 2021); Muon (Jordan et al. 2024) for the blocks' matrices.
Run: `nox -s pretrain` (resumes where it stopped; `-- --budget 0.01` for a quick trial).
Cost: 67 minutes on two CPU cores shared with other jobs, and a few minutes for the pools.
Expect: the gates of `bench/gates/gates.py`; figures in `weakclip/assets/README.md`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from bench.cartoon.caption import CAPTION_TEMPLATES, class_prompt
from bench.cartoon.clip.captions import tokenizer
from bench.cartoon.clip.muon import Muon
from bench.cartoon.clip.pools import Pool, PoolKind, PoolSpec, ensure_pool
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import DISPLAY_NAMES
from bench.cartoon.world import WorldConfig
from weakclip.clip.micro import MicroCLIP, MicroConfig, build_micro, normalise, save_micro
from weakclip.data.atomic import replacing, write_text
from weakclip.training.execution import full_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

logger = logging.getLogger(__name__)

POOL_SEED, HELD_OUT_SEED = 11_000, 12_000
"""Seeds of the pretraining and held-out scenes; no split of CartoonVOC uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the curriculum with its own cosine schedule."""

    name: str
    samples: int
    """Number of training images: tiles, or 128 px mosaics and scenes."""
    batch: int
    mosaics: float | None
    """Fraction of the batches that are mosaics; None for a stage of single tiles."""
    learning_rate: float
    muon_learning_rate: float
    pools: int
    """Number of the pools; stages with different numbers use different scenes."""


RECIPE = (
    Stage(
        name="tiles", samples=200_000, batch=256, mosaics=None,
        learning_rate=2e-3, muon_learning_rate=0.02, pools=0,
    ),
    Stage(
        name="mosaics", samples=100_000, batch=64, mosaics=0.5,
        learning_rate=2e-3, muon_learning_rate=0.02, pools=0,
    ),
    Stage(
        name="polish", samples=100_000, batch=64, mosaics=0.65,
        learning_rate=1.5e-3, muon_learning_rate=0.012, pools=1,
    ),
)  # fmt: skip

POOL_IMAGES = {"tile": 64_000, "scene": 32_000}
WARMUP_STEPS, FINAL_RATE = 60, 0.05
CLIP_WEIGHT, CLASS_WEIGHT = 0.5, 1.0  # weights of the contrastive and the class-prompt loss
MAX_SCALE = math.log(60)
EVALUATE_EVERY = 100  # steps; also the interval of checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a pretraining."""

    budget: float = 1.0
    """Fraction of the recipe's samples."""
    seed: int = 0
    workers: int = 1
    """Number of processes that draw the pools; 0 draws them in this process."""
    recipe: tuple[Stage, ...] = RECIPE


class Batch(NamedTuple):
    """Normalised images (B, 3, S, S), token ids (N, L), labels (N, 20); N = 4 B for mosaics."""

    images: Tensor
    tokens: Tensor
    labels: Tensor
    kind: Literal["tile", "mosaic", "scene"]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or resume training, and write the weights and the curve."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cartoon.clip.pretrain", description=__doc__
    )
    parser.add_argument("--budget", type=float, default=1.0, help="share of the recipe's samples")
    parser.add_argument("--out", type=Path, default=Path("artifacts/pretrain"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.budget <= 0:
        parser.error(f"--budget: expected a positive share of the recipe, got {args.budget}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    full_float32()
    torch.set_num_threads(args.threads)
    plan = Plan(budget=args.budget, seed=args.seed, workers=os.cpu_count() or 1)
    try:
        Pretraining(args.out, plan, torch.device(args.device)).run()
    except ValueError as error:
        parser.error(str(error))
    return 0


class Pretraining:
    """The model, its optimisers and their progress in the curriculum."""

    def __init__(
        self, out: Path, plan: Plan, device: torch.device, config: MicroConfig | None = None
    ) -> None:
        """Initialise the model; all files are written to `out`."""
        self.out, self.plan, self.device = out, plan, device
        self.config = config or MicroConfig()
        torch.manual_seed(plan.seed)
        self.tokenize = tokenizer(self.config.context_length)
        self.model = build_micro(self.config, len(self.tokenize)).to(self.device)
        self.muon, self.adamw = optimisers(self.model)
        self.prompts = torch.stack(
            [
                self.tokenize([class_prompt(template, name) for name in DISPLAY_NAMES])
                for template in CAPTION_TEMPLATES
            ]
        ).to(self.device)
        self.stage = self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float | str]] = []
        self._held_out: tuple[Tensor, Tensor] | None = None

    def run(self) -> None:
        """Train from the last checkpoint on, and write the weights and the curve."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        while self.stage < len(self.plan.recipe):
            self._run_stage(self.plan.recipe[self.stage])
            self.stage, self.step = self.stage + 1, 0
            self._checkpoint()
        save_micro(self.out, self.config, self.tokenize.vocabulary, self.model)
        self._write_curve()

    def _run_stage(self, stage: Stage) -> None:
        steps = max(1, round(stage.samples * self.plan.budget / stage.batch))
        pools = self._pools(stage)
        started, losses = time.monotonic() - self.seconds, []
        for step in range(self.step, steps):
            generator = np.random.default_rng([self.plan.seed, self.stage, step])
            losses.append(self._train_step(stage, pools, generator, step / steps, step))
            self.step = step + 1
            if self.step % EVALUATE_EVERY == 0 or self.step == steps:
                self.seconds = time.monotonic() - started
                self._record(stage, float(np.mean(losses)))
                losses = []
                self._checkpoint()

    def _pools(self, stage: Stage) -> dict[str, Pool]:
        """The pool of tiles, and that of scenes if the stage has whole scenes."""
        kinds: tuple[PoolKind, ...] = ("tile",) if stage.mosaics is None else ("tile", "scene")
        return {
            kind: ensure_pool(self.out, self._pool_spec(kind, stage), workers=self.plan.workers)
            for kind in kinds
        }

    def _pool_spec(self, kind: PoolKind, stage: Stage) -> PoolSpec:
        side = self.config.image_size
        return PoolSpec(
            kind=kind,
            images=max(64, round(POOL_IMAGES[kind] * min(1.0, self.plan.budget))),
            size=side // 2 if kind == "tile" else side,
            seed=POOL_SEED + 10 * stage.pools + (kind == "scene"),
            context_length=self.config.context_length,
            world=WorldConfig(size=side, background_only_rate=0.03),
        )

    def _train_step(
        self,
        stage: Stage,
        pools: dict[str, Pool],
        generator: Generator,
        progress: float,
        step: int,
    ) -> float:
        batch = _draw_batch(stage, pools, generator, self.device)
        images = image_embeddings(self.model, self.config, batch.images, batch.kind, generator)
        template = int(generator.integers(len(self.prompts)))
        texts = functional.normalize(
            text_embeddings(self.model, torch.cat([batch.tokens, self.prompts[template]])), dim=-1
        )
        loss = self._loss(images, texts, batch.labels)
        rate = min(1.0, (step + 1) / WARMUP_STEPS) * cosine(progress)
        rates = (stage.learning_rate * rate, stage.muon_learning_rate * rate)
        return update(self.model, loss, self.adamw, self.muon, rates)

    def _loss(self, images: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
        """Contrastive loss on the captions plus softmax cross-entropy to the class prompts."""
        count, scale = len(images), self.model.logit_scale.exp()
        logits = scale * images @ texts[:count].T
        target = torch.arange(count, device=logits.device)
        contrastive = functional.cross_entropy(logits, target)
        contrastive = (contrastive + functional.cross_entropy(logits.T, target)) / 2
        shown = labels.sum(dim=1)
        log_p = functional.log_softmax(scale * images @ texts[count:].T, dim=1)
        per_image = -(log_p * labels).sum(dim=1) / shown.clamp(min=1)
        classes = per_image.sum() / (shown > 0).sum().clamp(min=1)
        return CLIP_WEIGHT * contrastive + CLASS_WEIGHT * classes

    @torch.no_grad()
    def top1(self) -> float:
        """Zero-shot accuracy on 400 held-out single-object scenes with `a photo of a {class}`."""
        if self._held_out is None:
            scenes = [
                sample_scene(
                    WorldConfig(size=self.config.image_size), HELD_OUT_SEED, index,
                    classes=(index % 20,), objects=1, occluders=False,
                )
                for index in range(400)
            ]  # fmt: skip
            images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
            self._held_out = (normalise(images).to(self.device), torch.arange(400) % 20)
        images, target = self._held_out
        self.model.eval()
        prompts = self.tokenize([class_prompt("a photo of a {}", name) for name in DISPLAY_NAMES])
        texts = functional.normalize(self.model.encode_text(prompts.to(self.device)), dim=-1)
        hits = [
            (self.model.encode_image(part) @ texts.T).argmax(dim=1).cpu()
            for part in torch.split(images, 100)
        ]
        self.model.train()
        return float((torch.cat(hits) == target).float().mean())

    def _record(self, stage: Stage, loss: float) -> None:
        row: dict[str, float | str] = {
            "stage": stage.name, "step": self.step, "samples": self.step * stage.batch,
            "seconds": round(self.seconds, 1), "loss": loss, "top1": self.top1(),
        }  # fmt: skip
        self.curve.append(row)
        scale = float(self.model.logit_scale.detach().exp())
        logger.info(
            "%s step %d: %.0f s, loss %.3f, top-1 %.3f, scale %.1f",
            stage.name, self.step, self.seconds, loss, row["top1"], scale,
        )  # fmt: skip

    def _checkpoint(self) -> None:
        state = {
            "model": self.model.state_dict(), "adamw": self.adamw.state_dict(),
            "muon": self.muon.state_dict(), "stage": self.stage, "step": self.step,
            "seconds": self.seconds, "curve": self.curve,
            "budget": self.plan.budget, "seed": self.plan.seed,
        }  # fmt: skip
        with replacing(self.out / "checkpoint.pt") as part:
            torch.save(state, part)

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        made = (state["budget"], state["seed"])
        wanted = (self.plan.budget, self.plan.seed)
        if made != wanted:
            raise ValueError(
                f"{path.name}: made with budget and seed {made}, asked for {wanted}; "
                "give another --out or delete the folder"
            )
        self.model.load_state_dict(state["model"])
        self.adamw.load_state_dict(state["adamw"])
        self.muon.load_state_dict(state["muon"])
        self.stage, self.step = state["stage"], state["step"]
        self.seconds, self.curve = state["seconds"], state["curve"]
        logger.info("resumed at stage %d, step %d", self.stage, self.step)

    def _write_curve(self) -> None:
        lines = ["stage,step,samples,seconds,loss,top1"]
        lines += [",".join(str(value) for value in row.values()) for row in self.curve]
        write_text(self.out / "curve.csv", "\n".join(lines) + "\n")


def token_embeddings(model: MicroCLIP, images: Tensor, positions: Tensor) -> Tensor:
    """Projected patch tokens of images, with a selection of the position embeddings.

    Args:
        model: A CLIP of `build_micro`.
        images: (B, 3, S, S), normalised.
        positions: Index of the position embedding of each patch, (N,).

    Returns:
        Token embeddings before normalisation, (B, N, E).
    """
    visual = model.visual
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    position = visual.positional_embedding
    start = (visual.class_embedding + position[0]).expand(len(images), 1, -1)
    states = visual.ln_pre(torch.cat([start, patches + position[1 + positions]], dim=1))
    for block in visual.transformer.resblocks:
        states = block(states)
    tokens: Tensor = visual.ln_post(states)[:, 1:] @ visual.proj
    return tokens


def image_embeddings(
    model: MicroCLIP, config: MicroConfig, images: Tensor, kind: str, generator: Generator
) -> Tensor:
    """Unit-length image embeddings: the mean patch token, for mosaics that of each quadrant.

    Args:
        model: A CLIP of `build_micro`.
        config: Its sizes.
        images: (B, 3, S, S), normalised; tiles get a random window of the position embeddings.
        kind: `tile`, `mosaic` or `scene`.
        generator: Chooses the window of tiles.

    Returns:
        (B, E); (4 B, E) for mosaics.
    """
    grid = config.image_size // config.patch_size
    index = torch.arange(grid * grid, device=images.device).view(grid, grid)
    if kind == "tile":
        side = images.shape[-1] // config.patch_size
        top, left = generator.integers(0, grid - side + 1, 2)
        index = index[top : top + side, left : left + side]
    tokens = token_embeddings(model, images, index.flatten())
    if kind == "mosaic":
        half, size = grid // 2, len(tokens)
        tokens = tokens.view(size, 2, half, 2, half, -1).mean(dim=(2, 4)).flatten(0, 2)
        return functional.normalize(tokens, dim=-1)
    return functional.normalize(tokens.mean(dim=1), dim=-1)


def text_embeddings(model: MicroCLIP, tokens: Tensor) -> Tensor:
    """Text embeddings, (N, E), not normalised, from token ids (N, L).

    Positions after the end of the longest text are padding and not computed.
    """
    ends = tokens.argmax(dim=1)
    length = int(ends.max()) + 1
    states = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    states = model.transformer(states, attn_mask=model.attn_mask[:length, :length])
    states = model.ln_final(states)[torch.arange(len(tokens), device=tokens.device), ends]
    embeddings: Tensor = states @ model.text_projection
    return embeddings


def mosaics(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join tiles (4 B, T, T, 3) to mosaics of two by two, (B, 2 T, 2 T, 3)."""
    side = tiles.shape[1]
    rows = tiles.reshape(-1, 2, 2, side, side, 3).transpose(0, 1, 3, 2, 4, 5)
    return rows.reshape(-1, 2 * side, 2 * side, 3)


def update(
    model: MicroCLIP,
    loss: Tensor,
    adamw: torch.optim.AdamW,
    muon: Muon,
    rates: tuple[float, float],
) -> float:
    """Do one step of both optimisers with learning rates (AdamW's, Muon's); return the loss."""
    adamw.zero_grad(set_to_none=True)
    for parameter, _ in muon.parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in adamw.param_groups:
        group["lr"] = rates[0]
    adamw.step()
    muon.step(rates[1])
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_SCALE)
    return float(loss.detach())


def _draw_batch(
    stage: Stage, pools: dict[str, Pool], generator: Generator, device: torch.device
) -> Batch:
    kind: Literal["tile", "mosaic", "scene"] = "tile"
    if stage.mosaics is not None:
        kind = "mosaic" if generator.random() < stage.mosaics else "scene"
    pool = pools["scene" if kind == "scene" else "tile"]
    count = stage.batch * (4 if kind == "mosaic" else 1)
    picked = generator.integers(0, len(pool.images), count)
    flipped = generator.random(count) < 0.5
    images = pool.images[picked]
    images[flipped] = images[flipped][:, :, ::-1]
    caption = generator.integers(0, pool.tokens.shape[2], count)
    tokens = pool.tokens[picked, flipped.astype(np.int64), caption]
    if kind == "mosaic":
        images = mosaics(images)
    return Batch(
        normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device)),
        torch.from_numpy(tokens.astype(np.int64)).to(device),
        torch.from_numpy(pool.labels[picked].astype(np.float32)).to(device),
        kind,
    )


def optimisers(model: MicroCLIP) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the blocks' matrices, AdamW for all others (weight decay on matrices only)."""
    named = list(model.named_parameters())
    blocks = [(n, p) for n, p in named if "resblocks" in n and p.ndim == 2]
    fused = [p for n, p in blocks if n.endswith("in_proj_weight")]
    plain = [p for n, p in blocks if not n.endswith("in_proj_weight")]
    taken = {id(p) for _, p in blocks}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return Muon(plain, fused), torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def cosine(progress: float) -> float:
    """Factor on a learning rate after a fraction of the steps: from 1 down to `FINAL_RATE`."""
    return 0.5 * (1 + math.cos(math.pi * progress)) * (1 - FINAL_RATE) + FINAL_RATE


if __name__ == "__main__":
    raise SystemExit(main())
