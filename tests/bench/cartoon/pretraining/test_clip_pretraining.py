from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from bench.cartoon.pretraining import clip as pretrain
from bench.cartoon.pretraining.clip import Plan, Pretraining, Stage, contrastive
from weakclip.clip.micro import MicroConfig, load_micro

if TYPE_CHECKING:
    from pathlib import Path

TINY = MicroConfig(width=32, layers=1, head_width=16, text_width=32, text_heads=2, text_layers=1)
RECIPE = (
    Stage(name="tiles", samples=24, batch=8, mosaics=None, learning_rate=1e-3, muon=0.02),
    Stage(name="mosaics", samples=16, batch=4, mosaics=0.5, learning_rate=1e-3, muon=0.02),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "EVALUATE_EVERY", 2)
    monkeypatch.setattr(Pretraining, "top1", lambda self, distance: 0.5)


def train(out: Path, seed: int = 0) -> Pretraining:
    return Pretraining(out, Plan(recipe=RECIPE, workers=0, model=TINY, pools=(64, 64), seed=seed))


@pytest.mark.usefixtures("small")
def test_an_interrupted_pretraining_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole").run()
    real, calls = Pretraining._train_step, []

    def step_then_die(self: Pretraining, *args: object) -> float:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Pretraining, "_train_step", step_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "torn").run()
    monkeypatch.setattr(Pretraining, "_train_step", real)
    train(tmp_path / "torn").run()
    for stage in RECIPE:
        whole, torn = (load_micro(tmp_path / name / stage.name) for name in ("whole", "torn"))
        assert whole[2] == torn[2]
    with pytest.raises(ValueError, match="asked for"):
        train(tmp_path / "torn", seed=1).run()


def test_a_budget_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        pretrain.main(["--budget", "0"])
    assert caught.value.code == 2
    assert "positive share" in capsys.readouterr().err


def test_pictures_with_one_caption_all_match() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (
        functional.normalize(torch.randn(3, 4, generator=generator), dim=1) for _ in range(2)
    )
    texts[1] = texts[0]
    tokens = torch.tensor([[1, 2], [1, 2], [1, 3]])
    logits = 2.0 * images @ texts.T
    rows, columns = logits.log_softmax(dim=1), logits.log_softmax(dim=0)
    expected = 0.0
    for table in (rows, columns.T):
        expected -= float(table[:2, :2].mean(dim=1).sum() + table[2, 2]) / 3
    found = float(contrastive(images, texts, tokens, torch.tensor(2.0)))
    assert math.isclose(found, expected / 2, rel_tol=1e-5)
