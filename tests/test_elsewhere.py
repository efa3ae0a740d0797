"""The pretended accelerator is as strict as a real one."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.elsewhere import elsewhere


def test_it_computes_and_learns() -> None:
    inputs = torch.arange(6.0).view(2, 3)
    expected = torch.nn.Linear(3, 2)
    with elsewhere() as there:
        layer = copy.deepcopy(expected).to(there)
        layer(inputs.to(there)).square().sum().backward()
        optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
        optimiser.step()
        assert layer.weight.device == there
        learnt = layer.weight.detach().cpu()
    expected(inputs).square().sum().backward()
    torch.optim.AdamW(expected.parameters(), lr=0.1, fused=True).step()
    torch.testing.assert_close(learnt, expected.weight.detach())


def test_it_refuses_what_an_accelerator_refuses() -> None:
    here = torch.arange(4)
    with elsewhere() as there:
        values = here.to(there)
        with pytest.raises(RuntimeError, match="two devices"):
            values + here
        with pytest.raises(RuntimeError, match="two devices"):
            here.index_select(0, values)
        with pytest.raises(RuntimeError, match="generator"):
            torch.randperm(4, generator=torch.Generator(), device=there)
        with pytest.raises(TypeError, match="no array"):
            values.numpy()
        assert values[here].tolist() == values[[0, 1, 2, 3]].tolist() == [0, 1, 2, 3]
        assert (values + torch.tensor(1)).cpu().tolist() == [1, 2, 3, 4]


def test_it_divides_as_cuda_does() -> None:
    values = torch.arange(2000.0)
    with elsewhere() as there:
        by_number = (values.to(there) / 83).cpu()
        by_tensor = (values.to(there) / torch.tensor(83.0, device=there)).cpu()
    assert torch.equal(by_tensor, values / 83)
    assert not torch.equal(by_number, values / 83)
