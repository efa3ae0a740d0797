"""The same training in another precision, made ahead or compiled."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import torch

from tests.weakclip.training.test_loop import CLIP, NAMES, RECIPE, batch
from weakclip.config import MICRO
from weakclip.network.build import build_model
from weakclip.ops.precision import at_least_single
from weakclip.training.execution import REFERENCE, Execution, execution_for
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision

BFLOAT16 = Execution(precision="bfloat16")


def trained(execution: Execution) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    torch.manual_seed(0)
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    supervision = build_supervision(MICRO.supervision, MICRO.tau)
    curve = fit(model, supervision, batch, RECIPE, execution=execution)
    return model.state_dict(), curve


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_batches_made_ahead_give_the_same_bits() -> None:
    (weights, curve), (ahead, again) = trained(REFERENCE), trained(Execution(prefetch=2))
    assert same(weights, ahead)
    assert curve == again


def test_bfloat16_trains_weights_of_float32_to_nearly_the_same_losses() -> None:
    (weights, curve), (other, losses) = trained(REFERENCE), trained(BFLOAT16)
    assert {name: each.dtype for name, each in other.items()} == {
        name: each.dtype for name, each in weights.items()
    }
    assert not same(weights, other)
    for row, reference in zip(losses, curve, strict=True):
        assert row == pytest.approx(reference, rel=0.05)


def test_losses_get_float32_whatever_the_network_is_computed_in() -> None:
    model = build_model(MICRO, CLIP, NAMES, seed=0)
    seen: list[torch.dtype] = []
    for part in (*model.image_tower.modules(), *model.decoder.modules()):
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    with BFLOAT16.autocast(torch.device("cpu")):
        features = model.encode(torch.randn(2, 3, 64, 64))
        output = model(features)
    kept = (*features.taps, features.global_embedding, features.dense_embedding)
    assert {each.dtype for each in (*kept, output.score_map, output.logits)} == {torch.float32}
    assert set(seen) == {torch.bfloat16}
    double = torch.zeros(1, dtype=torch.float64)
    assert at_least_single(double) is double


def test_a_compiled_training_has_the_same_weights_by_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []

    def uncompiled(model: torch.nn.Module) -> object:
        called.append(type(model).__name__)
        return compile_with(model)

    compile_with = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", uncompiled)
    weights, curve = trained(Execution(mode="compiled"))
    reference, expected = trained(REFERENCE)
    assert called == ["WeakCLIP"]
    assert weights.keys() == reference.keys()
    for row, other in zip(curve, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_gets_the_precision_it_has_and_batches_made_ahead(
    monkeypatch: pytest.MonkeyPatch,
    able: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: able)
    gpu = torch.device("cuda", 0)
    assert execution_for(gpu).precision == ("bfloat16" if able else "float32")
    assert execution_for(gpu, "float32") == Execution(prefetch=2)
    assert execution_for(torch.device("cpu")) == REFERENCE
    assert execution_for(torch.device("cpu"), "bfloat16") == BFLOAT16


def test_what_moves_no_number_is_not_part_of_the_arithmetic() -> None:
    assert Execution(prefetch=5).arithmetic == {}
    assert Execution(mode="compiled").arithmetic == {"mode": "compiled"}


def test_values_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'float16'; known: float32, bfloat16"):
        Execution(precision="float16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected 0 batches or more, got -1"):
        Execution(prefetch=-1)


def test_the_heap_is_kept() -> None:
    """In a process of its own: large arrays that are made again and again cause no page faults."""
    pytest.importorskip("resource")
    program = """
import resource, torch
from weakclip.training.execution import keep_heap
kept = {kept} and keep_heap()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(40_000_000 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""
    found = {
        kept: subprocess.run(
            [sys.executable, "-c", program.replace("{kept}", str(kept))],
            check=True, capture_output=True, text=True,
        ).stdout.split()
        for kept in (False, True)
    }  # fmt: skip
    if found[True][0] != "True":
        pytest.skip("the C library is not glibc")
    assert int(found[True][1]) < int(found[False][1]) / 10
