"""Found by `python -m bench search`, search 'cartoon': trial 5 of 24.

mIoU 49.16 % on split `tune`, mean over the seeds [0]. Generated; do not edit.
"""

from weakclip.config import (
    CoAttention,
    LearnableContext,
    PyramidAdapter,
    SeedAndBoundary,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.crf.terms import Bilateral, CRFConfig, Gaussian
from weakclip.training.recipe import Recipe

CONFIG = WeakCLIPConfig(
    prompt=LearnableContext(
        length=3,
        class_specific=False,
        init_std=0.02,
    ),
    adapter=PyramidAdapter(
        training="trained",
    ),
    matching=CoAttention(
        stacking="sequential",
        sides="both",
        depth=3,
        width=64,
        heads=4,
        dropout=0.062015746601827924,
        initial_scale=0.1,
    ),
    decoder=TextGuidedDecoder(
        levels=(
            0,
            1,
            2,
            3,
        ),
        score_scale=22.74572043250865,
        channels=48,
        dropout=0.0,
        classifier_std=0.1,
    ),
    supervision=SeedAndBoundary(
        grid=32,
        crf=CRFConfig(
            terms=(
                Gaussian(
                    sxy=3.0,
                    weight=3.0,
                ),
                Bilateral(
                    sxy=80.0,
                    srgb=13.0,
                    weight=10.0,
                ),
            ),
            iterations=10,
        ),
        seeding_weight=1.0,
        boundary_weight=0.9768223775896583,
        matching_weight=0.6117438629026457,
        matching_size="grid",
    ),
    tau=0.13531276668124984,
    taps=(
        1,
        2,
        3,
        5,
    ),
    class_token="clip",
    drop_path=0.0,
)

RECIPE = Recipe(
    iterations=340,
    batch_size=8,
    learning_rate=0.003265556712254305,
    weight_decay=0.00015388702589035815,
    warmup=20,
    warmup_ratio=0.001,
    final_learning_rate=1e-05,
    log_every=40,
)
