"""Writes micro-CLIP's model card from the files that pretraining and the gates wrote.

Run: `python -m bench.cartoon.clip.card` after `nox -s pretrain` and
`python -m bench.gates.gates`.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from bench.cartoon.clip.pretrain import CLASS_WEIGHT, CLIP_WEIGHT, POOL_IMAGES, RECIPE
from weakclip.clip.micro import ASSETS, CONFIG_FILE, WEIGHTS_FILE
from weakclip.data.atomic import write_text

GATES, CURVE = Path("results/gates.json"), Path("results/pretrain/curve.csv")

_TEXT = """# micro-CLIP

A CLIP of {millions:.2f} million parameters, pretrained on image-caption pairs of CartoonVOC and on
nothing else. It is the frozen CLIP of the embedded default, so that the suite runs with real
weights on a machine without network. It knows {words} tokens: the twenty classes of VOC with a few
synonyms, colours, positions and 25 background words; it is of no use on photographs.

Written by `python -m bench.cartoon.clip.card`; figures are from `results/gates.json` and
`results/pretrain/curve.csv`.

* Architecture: open_clip's CLIP; ViT with patch {patch_size}, {image_size} px, width {width},
  {layers} blocks, heads of {head_width}, mean of the patch tokens as image embedding; text width
  {text_width}, {text_layers} layers, context {context_length}; joint width {embed_dim}; exact GELU.
* File: `{weights}`, half precision, {size:.1f} MB, SHA-256 `{sha256}`.
* Data: procedural scenes and tiles from seeds that no CartoonVOC split uses; captions name classes,
  colours, sizes, counts, positions and visible stuff. No mask and no box is used. A tile is an
  image with a caption of its own; the supervision of a 2 x 2 mosaic is that each quadrant's mean
  token matches the caption of its tile, so where the four tiles are is known, as in any mosaic.
* Loss: {clip_weight} contrastive (image, caption) + {class_weight} softmax cross-entropy to the
  twenty class prompts (a sampled template). Muon for the blocks' matrices, AdamW for the rest.
* Pools: {tiles:,} tiles and {scenes:,} scenes per draw, three captions each, mirrored at random.

## Recipe and curve

| stage | images | batch | mosaics | loss at end | top-1 (400 held-out scenes) |
|---|---|---|---|---|---|
{stages}

{minutes:.0f} minutes of training on two cores of a shared x86-64 CPU (other jobs ran beside it, so
an idle machine is faster); drawing the pools is not counted. The number of threads changes the
order of floating-point sums, so a rerun gives the same recipe, not the same bits.

## Gates

CAMs are scored on the `train` images with known tags at their best threshold (an oracle: it
looks at the ground truth). WeakCLIP rows are one seed of the `MICRO` configuration.

| gate | rule | measured | |
|---|---|---|---|
{gates}

Licence: as the repository. Made by `nox -s pretrain`.
"""


def main() -> int:
    """Write `weakclip/assets/README.md`."""
    write_text(ASSETS / "README.md", render())
    return 0


def render() -> str:
    """The model card.

    Raises:
        SystemExit: If the gates were measured on other weights than those in the package.
    """
    config = json.loads((ASSETS / CONFIG_FILE).read_text())
    report = json.loads(GATES.read_text())
    if report["clip"]["sha256"] != config["sha256"]:
        raise SystemExit(
            f"{GATES}: measured on other weights ({report['clip']['sha256'][:12]}…, expected "
            f"{config['sha256'][:12]}…); run `python -m bench.gates.gates` first"
        )
    rows = list(csv.DictReader(CURVE.read_text().splitlines()))
    size = (ASSETS / WEIGHTS_FILE).stat().st_size
    return _TEXT.format(
        **config["model"],
        millions=size / 2e6,
        words=len(config["vocabulary"]),
        weights=WEIGHTS_FILE,
        size=size / 1e6,
        sha256=config["sha256"],
        clip_weight=CLIP_WEIGHT,
        class_weight=CLASS_WEIGHT,
        tiles=POOL_IMAGES["tile"],
        scenes=POOL_IMAGES["scene"],
        stages="\n".join(_stage_row(stage.name, rows) for stage in RECIPE),
        minutes=float(rows[-1]["seconds"]) / 60,
        gates="\n".join(_gate_row(gate) for gate in report["gates"]),
    )


def _stage_row(name: str, rows: list[dict[str, str]]) -> str:
    stage = next(stage for stage in RECIPE if stage.name == name)
    last = [row for row in rows if row["stage"] == name][-1]
    mosaics = "-" if stage.mosaics is None else f"{100 * stage.mosaics:.0f} %"
    return (
        f"| {name} | {int(last['samples']):,} | {stage.batch} | {mosaics} | "
        f"{float(last['loss']):.2f} | {100 * float(last['top1']):.1f} % |"
    )


def _gate_row(gate: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in gate["figures"].items())
    mark = "pass" if gate["passed"] else "**fail**"
    return f"| {gate['name']} | {gate['rule']} | {figures} | {mark} |"


if __name__ == "__main__":
    raise SystemExit(main())
