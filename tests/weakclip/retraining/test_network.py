from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from weakclip.retraining.network import SMP, DeepLabV2, NetworkSpec, SmallFPN, build_network

if TYPE_CHECKING:
    from pathlib import Path

SMALL = SmallFPN(channels=(8, 8, 8, 8), width=8)
DEEPLAB = DeepLabV2(encoder="resnet10t", rates=(1, 2), weights=None)
PUBLIC = SMP(encoder="tu-resnet10t", weights=None)
SPECS: dict[str, NetworkSpec] = {
    "small": SMALL,
    "deeplabv2": DEEPLAB,
    "deeplabv3plus": PUBLIC,
    "fpn": SMP(architecture="fpn", encoder="tu-resnet10t", weights=None),
    "upernet": SMP(architecture="UPerNet", encoder="tu-convnext_atto", weights=None),
    "segformer": SMP(architecture="Segformer", encoder="mit_b0", weights=None),
}


@pytest.mark.parametrize("name", SPECS)
def test_logits_have_the_size_of_images_of_any_size(name: str) -> None:
    network = build_network(SPECS[name], 5).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 50, 71)).shape == (2, 5, 50, 71)
    sizes = [sum(p.numel() for p in part.parameters()) for part in network.components.values()]
    assert sum(sizes) == sum(p.numel() for p in network.parameters())


def test_the_network_of_cartoonvoc_is_small() -> None:
    network = build_network(SmallFPN(), 21)
    assert sum(p.numel() for p in network.encoder.parameters()) < 2_000_000


def test_deeplabv2_sums_dilated_convolutions_at_stride_8() -> None:
    network = build_network(DEEPLAB, 4).eval()
    with torch.no_grad():
        (features,) = network.encoder(torch.randn(1, 3, 64, 64))
        assert features.shape[2:] == (8, 8)
        branches = network.head.branches
        assert isinstance(branches, nn.ModuleList)
        expected = branches[0](features) + branches[1](features)
        assert torch.allclose(network.head([features]), expected)
    assert [each.dilation for each in branches] == [(1, 1), (2, 2)]


def test_frozen_batch_norms_do_not_move() -> None:
    network = build_network(SMALL, 3)
    network.freeze_norm()
    network.train()
    norms = [layer for layer in network.encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    network(torch.randn(2, 3, 64, 64))
    assert all(not norm.training and not norm.weight.requires_grad for norm in norms)
    for norm, mean in zip(norms, before, strict=True):
        assert norm.running_mean is not None
        assert torch.equal(norm.running_mean, mean)
    assert any(layer.training for layer in network.head.modules())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (DeepLabV2(encoder="resnet10t"), "resnet10t"),
        (SMP(encoder="tu-resnet10t"), "resnet10t"),
        (SMP(architecture="UPerNet", encoder="tu-convnext_atto"), "convnext_atto"),
    ],
    ids=["timm", "smp", "joined-names"],
)
def test_the_weights_of_timms_file_become_the_encoders(
    spec: DeepLabV2 | SMP, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    donor = timm.create_model(name, pretrained=False)
    save_file(donor.state_dict(), file)
    network = build_network(replace(spec, weights=str(file)), 3)
    theirs = next(value for value in donor.state_dict().values() if value.ndim == 4)
    ours = next(value for value in network.encoder.state_dict().values() if value.ndim == 4)
    assert torch.equal(ours, theirs)


def test_weights_that_are_missing_or_of_another_network_are_refused(tmp_path: Path) -> None:
    spec = SMP(encoder="tu-resnet10t", weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"timm.create_model\('resnet10t', pretrained=True"):
        build_network(spec, 3)
    file = tmp_path / "other.safetensors"
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), file)
    with pytest.raises(ValueError, match="weights of another network"):
        build_network(SMP(encoder="tu-resnet10t", weights=str(file)), 3)


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'DeepLabV3Plus'"):
        build_network(SMP(architecture="DeepLabV3Plu", weights=None), 3)
    with pytest.raises(ValueError, match="encoder 'tu-nothing'"):
        build_network(SMP(encoder="tu-nothing", weights=None), 3)
    with pytest.raises(ValueError, match="encoder 'nothing'"):
        build_network(SmallFPN(encoder="nothing"), 3)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'weakclip\[retrain\]'"):
        build_network(PUBLIC, 3)
    build_network(SMALL, 3)
