"""Retraining presets: a small one for CartoonVOC, modern ones, and published protocols.

`docs/retraining.md` lists where they differ from the publications.

References:
    deeplab-pytorch (kazuto1011), the DeepLabV2 that CLIP-ES, ReCAM and CLIMS retrain.
    Xie et al., CLIMS, CVPR 2022 (its `main_v2`).
    Zhu et al., WeakCLIP, IJCV 2025 (schedule of its DeepLabV1 on ResNet-38).
    mmsegmentation 1.2, DeepLabV3+ on VOC's trainaug; Xie et al., SegFormer, NeurIPS 2021; Liu et
    al., ConvNeXt, CVPR 2022 (optimisers).
"""

from __future__ import annotations

from dataclasses import replace

from weakclip.crf.dense import DEEPLAB, Bilateral, CRFConfig, Gaussian
from weakclip.network.encoder import EMBEDDED
from weakclip.retraining.network import SMP, DeepLabV2, SmallFPN
from weakclip.retraining.recipe import SGD, AdamW, Crops, Distortion, Poly, RetrainingRecipe
from weakclip.stages.retrain import Retraining

MICRO = Retraining(
    network=SmallFPN(channels=(32, 64, 128, 256), weights=EMBEDDED),
    recipe=RetrainingRecipe(
        iterations=500,
        batch_size=16,
        optimiser=AdamW(learning_rate=2e-3, weight_decay=1e-2),
        schedule=Poly(warmup=20),
        crops=Crops(size=128, scales=(0.75, 1.5)),
    ),
)
"""For CartoonVOC: a feature pyramid on micro-backbone; about two minutes on two cores."""

DEEPLAB_V3PLUS = Retraining(
    network=SMP(architecture="DeepLabV3Plus", encoder="tu-resnet101", output_stride=16),
    recipe=RetrainingRecipe(
        iterations=20_000,
        batch_size=16,
        optimiser=SGD(learning_rate=1e-2, momentum=0.9, weight_decay=5e-4),
        schedule=Poly(power=0.9, final=1e-4),
        crops=Crops(size=512, scales=(0.5, 2.0), of="short-side", distortion=Distortion()),
    ),
    scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
    flip=True,
)
"""The modern default: mmsegmentation's recipe for VOC's trainaug."""

DEEPLAB_V3PLUS_COCO = replace(
    DEEPLAB_V3PLUS, recipe=replace(DEEPLAB_V3PLUS.recipe, iterations=40_000)
)

DEEPLAB_V2 = Retraining(
    network=DeepLabV2(encoder="resnet101"),
    recipe=RetrainingRecipe(
        iterations=20_000,
        batch_size=10,
        optimiser=SGD(learning_rate=2.5e-4, momentum=0.9, weight_decay=5e-4),
        head_factor=10,
        schedule=Poly(power=0.9, every=10),
        batch_norm="frozen",
        crops=Crops(size=321, scales=(0.5, 0.75, 1.0, 1.25, 1.5), drawn="among"),
    ),
    scales=(0.5, 0.75, 1.0),
    crf=DEEPLAB,
)
"""deeplab-pytorch's recipe, as used by CLIP-ES and ReCAM."""

CLIMS_V2 = replace(
    DEEPLAB_V2,
    recipe=replace(
        DEEPLAB_V2.recipe,
        iterations=30_000,
        batch_size=20,
        loss="balanced",
        crops=Crops(size=321, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0), drawn="among"),
    ),
)
"""CLIMS's `main_v2`: the same network with the balanced loss and a longer schedule."""

WEAKCLIP_R38 = Retraining(
    network=SMP(
        architecture="DeepLabV3",
        encoder="tu-wide_resnet50_2",
        output_stride=8,
        weights="weights/wide_resnet50_2.safetensors",
    ),
    recipe=RetrainingRecipe(
        iterations=40_000,
        batch_size=10,
        optimiser=SGD(learning_rate=1e-3, momentum=0.9, weight_decay=5e-4),
        head_factor=10,
        schedule=Poly(power=0.9),
        crops=Crops(size=448, scales=(0.5, 1.5)),
    ),
    scales=(0.5, 0.75, 1.0, 1.25, 1.5),
    flip=True,
    crf=CRFConfig(terms=(Gaussian(sxy=1, weight=3), Bilateral(sxy=112, srgb=2, weight=3))),
)
"""The schedule of WeakCLIP's retraining on VOC, with another wide residual network."""

SEGFORMER = Retraining(
    network=SMP(
        architecture="Segformer",
        encoder="mit_b2",
        output_stride=None,
        weights="weights/mit_b2.safetensors",
    ),
    recipe=RetrainingRecipe(
        iterations=40_000,
        batch_size=16,
        optimiser=AdamW(learning_rate=6e-5, weight_decay=1e-2),
        head_factor=10,
        schedule=Poly(power=1.0, warmup=1500),
        crops=Crops(size=512, scales=(0.5, 2.0), of="short-side", distortion=Distortion()),
    ),
    scales=DEEPLAB_V3PLUS.scales,
    flip=True,
)
"""SegFormer-B2, a transformer, with the optimiser of its paper."""

UPERNET = replace(
    SEGFORMER,
    network=SMP(
        architecture="UPerNet",
        encoder="tu-convnext_tiny",
        output_stride=None,
        weights="weights/convnext_tiny.safetensors",
    ),
    recipe=replace(SEGFORMER.recipe, optimiser=AdamW(learning_rate=1e-4, weight_decay=5e-2)),
)
"""UPerNet on ConvNeXt-T, with ConvNeXt's learning rate and weight decay."""

PRESETS: dict[str, Retraining] = {
    "micro": MICRO,
    "deeplabv3plus": DEEPLAB_V3PLUS,
    "deeplabv2": DEEPLAB_V2,
    "clims": CLIMS_V2,
    "weakclip": WEAKCLIP_R38,
    "segformer": SEGFORMER,
    "upernet": UPERNET,
}
"""Presets by their name in `weakclip retrain --preset`."""
