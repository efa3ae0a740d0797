from __future__ import annotations

import torch

from bench.cartoon.pretraining.muon import Muon, orthogonalise


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
