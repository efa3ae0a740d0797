"""Parity of the training-free dense CLIPs with vectors of their releases.

A file holds the image tower of a CLIP (`param/`), images and text embeddings (`in/`), and what six
releases make of them: last tokens of every variant, text similarities, maps, averages of windows,
and ExCEL's static map up to its pseudo label. Sizes, names of images and numbers of blocks are
those of the file. What follows a stage is made from our own stage, never from the file's.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from open_clip.model import QuickGELU
from open_clip.transformer import LayerNorm, VisionTransformer
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from tests.parity.row import Row
from weakclip.clip.attention import split_heads
from weakclip.clip.dense import (
    Attention,
    ChangedBlocks,
    OwnValue,
    SelfSelf,
    Similarity,
    Window,
    dense_tokens,
    gaussian_window,
    similarity_weights,
)
from weakclip.clip.tower import ImageTower
from weakclip.dense_attention.methods import CLIP_SURGERY, EXCEL, GEM, SCLIP
from weakclip.dense_attention.scores import (
    FeatureSurgery,
    Similarities,
    class_chances,
    enriched,
    similarities,
)
from weakclip.dense_attention.source import Windows, averaged
from weakclip.ops.affinity import box_mask, sinkhorn_affinity
from weakclip.ops.cam import normalise_cam
from weakclip.ops.pamr import PAR_KERNEL, pamr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from tests.parity.released_clip import Arrays
    from weakclip.clip.tower import Positions, TokenTrace
    from weakclip.dense_attention.source import DenseAttention

INPUTS = ("param/", "in/image", "in/text", "excel/in/", "pamr/image", "pamr/logits")
ABSOLUTE = 1e-4
DIFFERING = 1e-3  # share of the labels
REDUCED = ChangedBlocks(attention=OwnValue(), residual="removed", feed_forward="removed")
FULL = ChangedBlocks(attention=OwnValue())
ARCHITECTURES = {"reduced": REDUCED, "full": FULL, "vanilla": FULL}
OWN = Similarity()
ATTENTIONS: dict[str, Attention] = {
    "vanilla": OWN,
    "MaskCLIP": OwnValue(),
    "SCLIP": SCLIP.change.attention,
    "csa": SCLIP.change.attention,
    "ClearCLIP": Similarity(pairs=("qq",)),
    "kk": Similarity(pairs=("kk",)),
}
"""Of ClearCLIP's and NACLIP's ablations, by the names of their releases."""


def verify(path: Path) -> list[Row]:
    """Compare our methods with the vectors in `path`, one row per reference key."""
    with np.load(path, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    ours = Ours(config, arrays)
    return [
        compare(key, ours.value(key), reference, ours.tolerance(key))
        for key, reference in arrays.items()
        if not key.startswith(INPUTS)
    ]


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any], limit: float) -> Row:
    """One row; the tolerance is absolute, and a share of the pixels for labels."""
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, limit, passed=False)
    found = ours.detach().numpy().astype(np.float64)
    if reference.dtype.kind in "iu":
        differing = float((found != reference).mean())
        return Row(key, differing, differing, limit, passed=differing <= limit)
    error = float(np.abs(found - reference).max())
    relative = error / max(float(np.abs(reference).max()), 1e-30)
    return Row(key, error, relative, limit, passed=error <= limit)


class Ours:
    """Our values of a file's keys."""

    def __init__(self, config: Mapping[str, Any], arrays: Arrays) -> None:
        """Build the image tower of the file.

        Raises:
            ValueError: If a parameter is missing, left over or of another shape.
        """
        self.config, self.arrays = config, arrays
        self.vision = vision_of(config, arrays)
        self.texts = self._input("in/text")
        self.all_texts = torch.ones(1, len(self.texts), dtype=torch.bool)

    def value(self, key: str) -> Tensor | None:
        """What we have for a key; None if we do not know it."""
        method, *rest = key.split("/")
        makers: dict[str, Callable[[list[str]], Tensor | None]] = {
            "in": self._positions,
            "clip": self._plain,
            "sclip": self._sclip,
            "clearclip": self._clearclip,
            "naclip": self._naclip,
            "gem": self._gem,
            "gem_last": self._gem_last,
            "surgery": self._surgery,
            "excel": self._excel,
            "pamr": self._pamr,
        }
        return makers[method](rest) if method in makers else None

    def tolerance(self, key: str) -> float:
        """Of an absolute error, or the share of labels that may differ."""
        if self.arrays[key].dtype.kind in "iu":
            return DIFFERING
        if re.fullmatch(r"excel/.*/scores", key):
            # ExCEL's refined maps are nearly constant; stretching them stretches their rounding.
            refined = self.arrays[key.replace("scores", "refined")]
            ranges = np.ptp(refined, axis=(1, 2)).min()
            return max(ABSOLUTE, 4 * float(np.finfo(np.float32).eps * refined.max() / ranges))
        return ABSOLUTE

    # --- tokens ---------------------------------------------------------------------------------

    def _positions(self, rest: list[str]) -> Tensor | None:
        image = rest[0].removeprefix("position_")
        grid = self._trace(image, SCLIP.positions).grid
        return self._tower(SCLIP.positions)._positions(grid)[None]

    def _plain(self, rest: list[str]) -> Tensor:
        return self._projected(self._trace(rest[0], SCLIP.positions).tokens[-1])

    def _clearclip(self, rest: list[str]) -> Tensor:
        image, variant, architecture = rest
        name, _, blocks = variant.partition("_last")
        change = replace(
            ARCHITECTURES[architecture], attention=ATTENTIONS[name], blocks=int(blocks or 1)
        )
        return self._tokens(image, change, SCLIP.positions)[:, 1:]

    def _naclip(self, rest: list[str]) -> Tensor | None:
        image, variant = rest[:2]
        if image == "window":
            return self._windows("naclip", variant)
        name, _, std = variant.partition("_std")
        grid = self._trace(image, SCLIP.positions).grid
        if name == "window_bias":
            return gaussian_window(grid, float(std), "cpu")
        attention = ATTENTIONS.get(name, OWN)
        if name == "naclip":
            attention = Similarity(pairs=("kk",), window=float(std))
        if name == "nonly":
            attention = Window(std=float(std))
        change = replace(ARCHITECTURES[rest[2]], attention=attention)
        tokens = self._tokens(image, change, SCLIP.positions)
        return tokens[:1] if name == "nonly" else tokens  # the release takes one image for it

    def _sclip(self, rest: list[str]) -> Tensor | None:
        image, what = rest
        if image in ("window", "whole"):
            return self._windows("sclip", what) if image == "window" else self._whole()
        if what == "tokens":
            return self._tokens(image, SCLIP.change, SCLIP.positions)
        attention = SCLIP.change.attention
        assert isinstance(attention, Similarity)
        return similarity_weights(attention, self._heads(image, SCLIP.positions, -1), None)[:1]

    def _gem(self, rest: list[str]) -> Tensor | None:
        image, variant = rest[:2]
        if variant == "original_tokens":
            return self._projected(self._trace(image, GEM.positions).tokens[-1])
        if variant.startswith("heatmap"):
            found = self._similarities(self._image(image)[:1], GEM, self.texts)
            maps = resize(found.patches, self._image(image).shape[2:])
            return maps if variant == "heatmap_raw" else normalise_cam(maps)
        chosen = {**self.config["gem"]["default"], **self.config["gem"][variant]}
        attention = SelfSelf(iterations=chosen["iterations"], temperature=chosen["temperature"])
        change = replace(GEM.change, attention=attention, blocks=chosen["depth"] - 1)
        return self._tokens(image, change, GEM.positions)

    def _gem_last(self, rest: list[str]) -> Tensor:
        change = replace(REDUCED, attention=GEM.change.attention)
        return self._tokens(rest[0], change, GEM.positions)[:, 1:]

    # --- similarities and maps ------------------------------------------------------------------

    def _surgery(self, rest: list[str]) -> Tensor | None:
        image, what = rest
        blocks = self.config["surgery_blocks"]
        method = replace(CLIP_SURGERY, change=replace(CLIP_SURGERY.change, blocks=blocks))
        if what == "tokens":
            return self._with_image_token(image, method)
        if what == "redundant":
            method = replace(method, scores=FeatureSurgery(redundancy="mean"))
        found = self._similarities(self._image(image), method, self.texts)
        if match := re.fullmatch(r"map(\d+)", what):
            row = int(match[1])
            maps = normalise_cam(found.patches[row : row + 1])
            height, width = self.arrays[f"surgery/{image}/{what}"].shape[:2]
            return resize(maps, (height, width))[0].permute(1, 2, 0)
        tokens = all_tokens(found).transpose(1, 2)
        match = re.fullmatch(r"similarity(\d+)", what)
        return tokens[int(match[1])] if match else tokens

    def _excel(self, rest: list[str]) -> Tensor | None:
        if rest == ["text"]:
            return self._excel_texts
        image, what = rest
        tags = torch.tensor(self.config["excel_tags"])
        blocks = self.config["excel_blocks"]
        method = replace(EXCEL, change=replace(EXCEL.change, blocks=blocks))
        if what == "tokens":
            return self._with_image_token(image, method)
        if what == "block_tokens_last":
            return self._trace(image, EXCEL.positions).tokens[-1]
        if what == "keys":
            return tags
        attention = self._excel_attention(image, self.config["excel_attention_blocks"], blocks)
        if what == "attention":
            return attention
        found = self._similarities(self._image(image), method, self._excel_texts)
        maps = normalise_cam(all_tokens(found).unsqueeze(2)).squeeze(2)  # (B, T, 1 + hw)
        if what == "maps":
            return maps.transpose(1, 2)
        cam = torch.unflatten(maps[0, tags, 1:], 1, found.patches.shape[2:])
        boxes = box_mask(cam, threshold=self.config["excel_box"], trim_last=True)
        affinity = sinkhorn_affinity(attention.double().mean(dim=0)[:, 1:, 1:])[0]
        refined: Tensor = ((cam * boxes).flatten(1).double() @ affinity.T).view_as(cam)
        if what == "refined":
            return refined
        if what not in ("scores", "label"):
            return None
        size = self.arrays[f"excel/{image}/{what}"].shape[-2:]
        large = resize(normalise_cam(refined)[None], size)[0]
        scores = torch.cat([1 - large.amax(dim=0, keepdim=True), large])
        if what == "scores":
            return scores
        pixels = F.interpolate(self._image(image)[:1], size, mode="bilinear", align_corners=True)
        best = pamr(pixels, scores[None], iterations=20, kernel=PAR_KERNEL)[0].argmax(dim=0)
        return F.pad(tags + 1, (1, 0))[best]

    @cached_property
    def _excel_texts(self) -> Tensor:
        texts, classes = self._input("excel/in/text"), self.config["foreground"]
        centres = self._input("excel/in/attribute_centres").T
        better = enriched(texts[:classes], centres, share=self.config["excel_topk"])
        return torch.cat([better, texts[classes:]])

    def _excel_attention(self, image: str, blocks: int, changed: int) -> Tensor:
        """Ordinary attention of the first image: the sum of the heads in the changed blocks."""
        weights = []
        for block in range(-blocks, 0):
            heads = self._heads(image, EXCEL.positions, block)
            each = similarity_weights(OWN, heads, None)[:1]
            weights.append(each.sum(dim=1) if block >= -changed else each.mean(dim=1))
        return torch.stack(weights)

    # --- zero-shot segmentation -----------------------------------------------------------------

    def _whole(self) -> Tensor:
        found = self._similarities(self._image("wide")[:1], SCLIP, self.texts)
        return resize(found.patches, self.config["original"])

    def _windows(self, method: str, what: str) -> Tensor | None:
        """SCLIP's attention in windows; both releases, which differ in what follows."""
        view = Windows(size=self.config["crop"], stride=self.config["stride"])
        found = averaged(
            lambda part: self._similarities(part, SCLIP, self.texts),
            self._image("wide")[:1],
            view,
        )
        logits = resize(found.patches, self.config["original"])
        if what == "logits":
            return logits
        owner = torch.tensor(self.config["query_class"])
        everything = torch.ones(1, int(owner.max()) + 1, dtype=torch.bool)
        scores = class_chances(self.config["logit_scale"] * logits, everything, owner)[0]
        best = scores.amax(dim=0)
        if method == "naclip":
            scores = scores / scores.sum(dim=0)
        else:
            covered = torch.bincount(scores.argmax(dim=0).flatten(), minlength=len(scores))
            enough = covered >= self.config["area_thd"] * covered[1:].sum()
            enough[0] = True
            scores = scores * enough[:, None, None]
            best = scores.amax(dim=0)
        if what == "class_scores":
            return scores
        return scores.argmax(dim=0) * best.ge(self.config["prob_thd"])

    def _pamr(self, _rest: list[str]) -> Tensor:
        images, logits = self._input("pamr/image"), self._input("pamr/logits")
        chosen = self.config["pamr"]
        large = F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=True)
        return pamr(images, large, iterations=chosen["iterations"], dilations=chosen["dilations"])

    # --- parts ----------------------------------------------------------------------------------

    def _input(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def _image(self, name: str) -> Tensor:
        return self._input(f"in/image_{name}")

    def _tower(self, positions: Positions) -> ImageTower:
        return ImageTower(self.vision, positions=positions)

    def _trace(self, image: str, positions: Positions) -> TokenTrace:
        return self._tower(positions).forward_tokens(self._image(image))

    def _projected(self, tokens: Tensor) -> Tensor:
        projected: Tensor = self.vision.ln_post(tokens) @ self.vision.proj
        return projected

    def _tokens(self, image: str, change: ChangedBlocks, positions: Positions) -> Tensor:
        trace = self._trace(image, positions)
        return self._projected(dense_tokens(self._tower(positions), trace, change))

    def _with_image_token(self, image: str, method: DenseAttention) -> Tensor:
        """Changed patch tokens behind the class token of the ordinary network."""
        ordinary = self._projected(self._trace(image, method.positions).tokens[-1])
        changed = self._tokens(image, method.change, method.positions)
        return torch.cat([ordinary[:, :1], changed[:, 1:]], dim=1)

    def _heads(self, image: str, positions: Positions, index: int) -> tuple[Tensor, Tensor, Tensor]:
        block = self.vision.transformer.resblocks[index]
        tokens = self._trace(image, positions).tokens[index - 1]
        return split_heads(block, block.ln_1(tokens))

    def _similarities(self, images: Tensor, method: DenseAttention, texts: Tensor) -> Similarities:
        tower = self._tower(method.positions)
        trace = tower.forward_tokens(images)
        image, _ = tower.read_out(trace.tokens[-1], trace.grid)
        _, dense = tower.read_out(dense_tokens(tower, trace, method.change), trace.grid)
        allowed = self.all_texts.expand(len(images), -1)
        return similarities(method.scores, image, dense, texts, allowed)


def vision_of(config: Mapping[str, Any], arrays: Arrays) -> VisionTransformer:
    """The image tower of a file.

    Raises:
        ValueError: If a parameter is missing, left over or of another shape.
    """
    vision = VisionTransformer(
        image_size=config["resolution"],
        patch_size=config["patch"],
        width=config["width"],
        layers=config["layers"],
        heads=config["heads"],
        mlp_ratio=4.0,
        output_dim=config["embed_dim"],
        act_layer={"quick_gelu": QuickGELU, "gelu": torch.nn.GELU}[config["activation"]],
        norm_layer=LayerNorm,
    )
    state = {
        key.removeprefix("param/visual."): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith("param/")
    }
    try:
        vision.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"parameters do not fit the config: {error}") from error
    return vision


def all_tokens(found: Similarities) -> Tensor:
    """Similarities of the image and its patches, (B, T, 1 + hw)."""
    return torch.cat([found.image.unsqueeze(2), found.patches.flatten(2)], dim=2)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear (align_corners false)."""
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
