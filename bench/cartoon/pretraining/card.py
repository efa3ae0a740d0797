"""Writes the model card of the embedded weights from the files of pretraining and of the gates.

Run: `python -m bench.cartoon.pretraining.card` after `nox -s pretrain` and
`python -m bench.gates.gates`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from bench.cartoon.kinds import KINDS
from bench.cartoon.pretraining.clip import POOL_IMAGES, RECIPE
from bench.cartoon.pretraining.pool import CAPTIONS
from bench.cartoon.styles import EVALUATION, PRETRAINING
from weakclip.clip.micro import ASSETS, CONFIG_FILE, WEIGHTS_FILE
from weakclip.data.atomic import write_text
from weakclip.network.encoder import EMBEDDED

GATES, CURVE = Path("results/gates.json"), Path("results/pretrain/curve.csv")

_TEXT = """# micro-CLIP and micro-backbone

Two small networks, pretrained on drawn images with captions and on nothing else, so that the suite
runs with real weights on a machine without network. They are of no use on photographs. Written by
`python -m bench.cartoon.pretraining.card`; figures are from `results/gates.json` and
`results/pretrain/curve.csv`.

## micro-CLIP

* Architecture: open_clip's CLIP of {millions:.2f} million parameters; ViT with patch {patch_size},
  {image_size} px, width {width}, {layers} blocks, heads of {head_width}, mean of the patch tokens
  as image embedding; text width {text_width}, {text_layers} layers, context {context_length}; joint
  width {embed_dim}; exact GELU; {words} tokens.
* File: `{weights}`, half precision, {size:.1f} MB, SHA-256 `{sha256}`.
* Data: whole images and crops with {kinds} kinds of objects in {styles} drawing styles, none of
  which is among the {unseen} styles of CartoonVOC; image-level captions with synonyms, omissions
  and irrelevant words ({captions} per image; {tiles:,} crops, {scenes:,} whole images). No class
  label, no class prompt, no mask and no box is used.
* Loss: contrastive. A curriculum replaces the scale of web data: first crops with captions of
  their own, then whole images and mosaics of two by two crops, whose quadrants are matched to
  their own captions, so the places of the four are known. Muon for the blocks' matrices, AdamW for
  the rest.

| stage | images | batch | mosaics | loss at end | top-1, its styles | top-1, CartoonVOC's |
|---|---|---|---|---|---|---|
{stages}

Top-1: 400 held-out single objects, `a photo of a {{class}}`. {minutes:.0f} minutes of training on
one core of a shared x86-64 CPU; drawing the pools is not counted. The number of threads changes the
order of floating-point sums, so a rerun gives the same recipe, not the same bits.

## micro-backbone

A ResNet (timm's `resnet10t`, widths 32 to 256) that learned to predict the words of captions
from the same images (`python -m bench.cartoon.pretraining.backbone`). It is to CAM, CLIMS,
AffinityNet and retraining what ImageNet is to their published networks. File: `{backbone}`, half
precision, {backbone_size:.1f} MB, SHA-256 `{backbone_sha256}`.

## Gates

Limits and reasons: `docs/preregistration.md`. An oracle threshold uses the annotation.

| gate | limits | measured | |
|---|---|---|---|
{gates}

Licence: as the repository.
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
    size, backbone = (ASSETS / WEIGHTS_FILE).stat().st_size, (ASSETS / EMBEDDED).read_bytes()
    return _TEXT.format(
        **config["model"],
        millions=size / 2e6,
        words=len(config["vocabulary"]),
        weights=WEIGHTS_FILE,
        size=size / 1e6,
        sha256=config["sha256"],
        kinds=len(KINDS),
        styles=len(PRETRAINING),
        unseen=len(EVALUATION),
        captions=CAPTIONS,
        tiles=POOL_IMAGES["tile"],
        scenes=POOL_IMAGES["scene"],
        stages="\n".join(_stage_row(stage.name, rows) for stage in RECIPE),
        minutes=float(rows[-1]["seconds"]) / 60,
        backbone=EMBEDDED,
        backbone_size=len(backbone) / 1e6,
        backbone_sha256=hashlib.sha256(backbone).hexdigest(),
        gates="\n".join(_gate_row(gate) for gate in report["gates"]),
    )


def _stage_row(name: str, rows: list[dict[str, str]]) -> str:
    stage = next(stage for stage in RECIPE if stage.name == name)
    last = [row for row in rows if row["stage"] == name][-1]
    mosaics = "-" if stage.mosaics is None else f"{100 * stage.mosaics:.0f} %"
    seen, unseen = (f"{100 * float(last[key]):.1f} %" for key in ("seen", "unseen"))
    return (
        f"| {name} | {int(last['samples']):,} | {stage.batch} | {mosaics} | "
        f"{float(last['loss']):.2f} | {seen} | {unseen} |"
    )


def _gate_row(gate: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in gate["figures"].items())
    mark = "pass" if gate["passed"] else "**fail**"
    return f"| {gate['name']} | {gate['rule']} | {figures} | {mark} |"


if __name__ == "__main__":
    raise SystemExit(main())
