from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bench.cartoon.clip import pretrain
from bench.cartoon.clip.captions import SYNONYMS, pretraining_caption, tokenizer
from bench.cartoon.clip.muon import Muon, orthogonalise
from bench.cartoon.clip.pretrain import Plan, Pretraining, Stage
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import BACKGROUND_WORDS, DISPLAY_NAMES
from bench.cartoon.world import WorldConfig
from weakclip.clip.micro import MicroConfig, load_micro

if TYPE_CHECKING:
    from pathlib import Path

TINY = MicroConfig(width=32, layers=1, head_width=16, text_width=32, text_heads=2, text_layers=1)
RECIPE = (
    Stage(
        name="tiles", samples=24, batch=8, mosaics=None,
        learning_rate=1e-3, muon_learning_rate=0.02, pools=0,
    ),
    Stage(
        name="mosaics", samples=16, batch=4, mosaics=0.5,
        learning_rate=1e-3, muon_learning_rate=0.02, pools=0,
    ),
)  # fmt: skip


def train(out: Path) -> Pretraining:
    plan = Plan(recipe=RECIPE, workers=0)
    return Pretraining(out, plan, torch.device("cpu"), TINY)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "POOL_IMAGES", {"tile": 64, "scene": 64})
    monkeypatch.setattr(pretrain, "EVALUATE_EVERY", 2)
    monkeypatch.setattr(Pretraining, "top1", lambda self: 0.5)
    torch.set_num_threads(1)


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
    assert not (tmp_path / "torn" / "micro-clip.json").exists()
    train(tmp_path / "torn").run()
    whole, torn = (load_micro(tmp_path / name)[0].state_dict() for name in ("whole", "torn"))
    assert all(torch.equal(whole[name], torn[name]) for name in whole)
    lines = (tmp_path / "torn" / "curve.csv").read_text().splitlines()
    assert lines[0] == "stage,step,samples,seconds,loss,top1"
    assert [line.split(",")[0] for line in lines[1:]] == ["tiles"] * 2 + ["mosaics"] * 2
    assert not [*tmp_path.rglob("*.part*"), *tmp_path.rglob("*.tmp")]


@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_another_budget_is_refused(tmp_path: Path) -> None:
    train(tmp_path).run()
    other = Pretraining(tmp_path, Plan(budget=0.5, workers=0), torch.device("cpu"), TINY)
    with pytest.raises(ValueError, match="made with budget and seed"):
        other.run()


def test_a_budget_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        pretrain.main(["--budget", "0"])
    assert caught.value.code == 2
    assert "positive share" in capsys.readouterr().err


def test_the_tokenizer_knows_every_prompt_word() -> None:
    tokenize = tokenizer(32)
    words = [*DISPLAY_NAMES, *BACKGROUND_WORDS, "background"]
    words += [word for others in SYNONYMS.values() for word in others]
    assert all(tokenize.knows(f"a photo of a {word}.") for word in words)


def test_rewording_adds_no_class_that_is_not_there() -> None:
    families = {name: (name, *others) for name, others in SYNONYMS.items()}
    generator = np.random.default_rng(0)
    for index in range(60):
        scene = sample_scene(WorldConfig(), 5, index)
        text = pretraining_caption(scene, generator, 32)
        tokenizer(32)([text])
        absent = [n for n, p in zip(DISPLAY_NAMES, scene.image_labels(), strict=True) if not p]
        for name in absent:
            for word in families.get(name, (name,)):
                if word not in ("plant", "table", "screen", "seat"):
                    assert not re.search(rf"\b{word}\b", text), text


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    matrices = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    tall = orthogonalise(matrices.transpose(1, 2).contiguous())
    assert torch.allclose(tall.transpose(1, 2), orthogonalise(matrices), atol=1e-5)


def test_a_fused_weight_is_three_matrices() -> None:
    fused, parts = torch.zeros(6, 3), [torch.zeros(2, 3) for _ in range(3)]
    gradient = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    fused.grad = gradient.clone()
    for part, piece in zip(parts, gradient.chunk(3), strict=True):
        part.grad = piece.clone()
    Muon([], [fused]).step(0.1)
    Muon(parts, []).step(0.1)
    assert torch.allclose(fused, torch.cat(parts), atol=1e-6)
