from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.maskclip import MaskCLIP
from weakclip.clip.load import load_clip
from weakclip.data.artifacts import making
from weakclip.data.read.tagged import TaggedFiles
from weakclip.dense_attention.source import _DenseAttention
from weakclip.stages.images import WorkingImages
from weakclip.stages.maps import ensure_maps
from weakclip.stages.protocols import Setting

if TYPE_CHECKING:
    from pathlib import Path


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
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    files = TaggedFiles(
        root=tmp_path,
        names=("a.png",),
        classes=("dog",),
        tags=np.ones((1, 1), np.bool_),
        masks=(None,),
    )
    setting = Setting(
        clip=load_clip("random-micro"),
        class_names=("dog",),
        background_words=(),
        device=torch.device("cpu"),
        folder=tmp_path / "artifacts",
    )
    made = []

    class Slow(_DenseAttention):
        def cams(self, images: torch.Tensor, image_labels: torch.Tensor) -> torch.Tensor:
            made.append(len(images))
            time.sleep(0.1)
            return super().cams(images, image_labels)

    monkeypatch.setattr("weakclip.dense_attention.source._DenseAttention", Slow)

    def work() -> None:
        data = WorkingImages(files, max_side=64, patch=16)
        ensure_maps(MaskCLIP(templates=("a {}",)), setting, data, seed=0, report=lambda *_: None)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert len(list((tmp_path / "artifacts").glob("maps-*/*.npz"))) == 1
