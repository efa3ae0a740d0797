from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bench.cartoon.pretraining import backbone
from bench.cartoon.pretraining.backbone import NETWORK, BackbonePretraining, Plan, word_targets
from weakclip.convnet.backbone import Stages

if TYPE_CHECKING:
    from pathlib import Path

TINY = replace(NETWORK, channels=(8, 8, 16, 16))
PLAN = Plan(steps=4, batch=8, workers=0, network=TINY, pools=(64, 64))


def test_the_weights_are_a_file_that_a_backbone_can_name_and_survive_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "CHECKPOINT_EVERY", 2)
    whole = BackbonePretraining(tmp_path, PLAN)
    whole.run()
    named = replace(TINY, stride=8, weights=str(tmp_path / backbone.WEIGHTS))
    loaded = Stages(named).network_state()
    for name, value in whole.stages.network_state().items():
        torch.testing.assert_close(loaded[name], value, rtol=1e-3, atol=1e-4)
    (tmp_path / backbone.WEIGHTS).rename(tmp_path / "whole")
    (tmp_path / "backbone.pt").unlink()
    torn = BackbonePretraining(tmp_path, PLAN)
    real, calls = torn._train_step, []

    def step_then_die() -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real()

    monkeypatch.setattr(torn, "_train_step", step_then_die)
    with pytest.raises(KeyboardInterrupt):
        torn.run()
    BackbonePretraining(tmp_path, PLAN).run()
    assert (tmp_path / backbone.WEIGHTS).read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(ValueError, match="asked for"):
        BackbonePretraining(tmp_path, replace(PLAN, steps=5)).run()


def test_targets_share_one_among_the_labels_that_are_said() -> None:
    tokens = np.zeros((2, 1, 4), dtype=np.uint16)
    tokens[0, 0] = 5, 7, 9, 7
    targets = word_targets(tokens, np.array([5, 6, 7]))
    assert targets.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
