from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch

from baselines.maskclip import MaskCLIP
from bench.runs.lease import making
from bench.studies import method
from bench.tasks.maps import Maps, ensure_maps
from weakclip.clip.load import load_clip
from weakclip.stages.protocols import ImageStack, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.stages.protocols import MaskerSpec


def test_who_comes_second_waits_and_finds_the_product(tmp_path: Path) -> None:
    product, makers = tmp_path / "deep" / "product", []

    def make(name: int) -> None:
        with making(product):
            if not product.exists():
                makers.append(name)
                time.sleep(0.1)
                product.touch()

    threads = [threading.Thread(target=make, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(makers) == 1


def test_a_maker_that_fails_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), making(tmp_path / "product"):
        raise ZeroDivisionError
    with making(tmp_path / "product"):
        pass


def test_two_workers_that_need_the_same_maps_make_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def slowly(spec: MaskerSpec, *_: object, **__: object) -> Maps:
        made.append(spec)
        time.sleep(0.1)
        return Maps(cams=torch.zeros(1, 1, 2, 2), seconds=1.0, parameters={})

    monkeypatch.setattr(method, "make_maps", slowly)
    clip = load_clip("random-micro")
    setting = Setting(
        clip=clip, class_names=("a",), background_words=(), device=torch.device("cpu")
    )
    data = ImageStack(
        torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.bool)
    )

    def work() -> None:
        folder, spec = tmp_path, MaskCLIP()
        ensure_maps(spec, setting, data, seed=0, folder=folder, report=lambda step, total: None)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(list(tmp_path.glob("maps-*.npz"))) == 1
