"""Fitting of a run: the method of a row on the images and tags of `train`, and its network."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.tasks.annotation import annotation
from weakclip.progress import silent
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.maps import ensure_maps
from weakclip.stages.method import fit_method, with_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.studies.method import MethodRow
    from bench.studies.preset import Preset
    from bench.studies.workbench import Config
    from weakclip.stages.images import WorkingImages
    from weakclip.stages.kept_seeds import KeptSeeds
    from weakclip.stages.maps import SplitMaps
    from weakclip.stages.method import Fitted
    from weakclip.stages.protocols import Setting
    from weakclip.stages.retrain import RetrainedNetwork


@dataclass(frozen=True, slots=True)
class Fitting:
    """Fits methods with the settings of a preset and on its images."""

    preset: Preset
    images: Mapping[str, WorkingImages]
    """Role of a split -> its images at working size."""
    setting: Setting

    def method(
        self,
        config: Config,
        seed: int,
        seconds: dict[str, float],
        report: Callable[[int, int], None],
    ) -> Fitted:
        """The method of a row, fitted on `train`; adds the time of each phase to `seconds`."""
        method, train = self.preset.method(config), self.images["train"]

        def tell(_stage: str, done: int, total: int) -> None:
            report(done, total)

        with timed(seconds, "fit"):
            first = replace(method, retraining=None)
            fitted = fit_method(first, self.setting, train, seed=seed, report=tell)
        train.check()
        seconds["maps"] = fitted.maps.seconds
        if method.retraining is not None:
            with timed(seconds, "retrain"):
                fitted = with_network(method, fitted, self.setting, train, seed=seed, report=tell)
        return fitted

    def supervised(
        self,
        row: MethodRow,
        seed: int,
        seconds: dict[str, float],
        report: Callable[[int, int], None],
    ) -> RetrainedNetwork:
        """The network of a row trained on the annotated masks of `train`."""
        retraining = self.preset.retrained_by(row)
        assert retraining is not None
        network = retraining.build(
            1 + len(self.setting.class_names), self.setting.device,
            folder=self.setting.folder, execution=self.setting.execution,
        )  # fmt: skip
        with timed(seconds, "retrain"):
            train = self.images["train"]
            network.fit(train, annotation(train), seed=seed, report=report)
        return network

    def clip_maps(self, role: str) -> SplitMaps:
        """The maps of a split from which WeakCLIP's seeds are made."""
        maps = self.preset.method(self.preset.config).maps
        return ensure_maps(maps, self.setting, self.images[role], seed=0, report=silent)

    def seeds(self, role: str) -> KeptSeeds:
        """The seeds of the tagged images of a split."""
        return ensure_seeds(self.clip_maps(role), self.images[role], self.preset.rule, self.setting)


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Add the wall-clock time of a block to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = round(seconds.get(phase, 0.0) + time.perf_counter() - start, 3)
