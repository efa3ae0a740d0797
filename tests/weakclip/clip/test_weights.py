"""Weights that cannot be those of a CLIP are refused with one line, without time or memory."""

from __future__ import annotations

import io
import json
import pickle
import resource
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.weakclip.clip.conftest import Small, write_transformers
from weakclip.clip.archive import read_archive
from weakclip.clip.load import load_clip
from weakclip.clip.tensors import read_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

STATE = {
    name: tensor for name, tensor in Small().build().state_dict().items() if name != "attn_mask"
}


def write(
    folder: Path,
    *,
    change: dict[str, Any] | None = None,
    tensors: dict[str, Tensor] | None = None,
    preprocess: object = None,
) -> str:
    """A CLIP in open_clip's folder with something wrong in it; returns its name for `load_clip`."""
    folder.mkdir(exist_ok=True)
    config = Small().config
    for name, value in (change or {}).items():
        part, _, size = name.rpartition(".")
        (config[part] if part else config)[size] = value
    content = {"model_cfg": config, "preprocess_cfg": {} if preprocess is None else preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    state = {name: tensor.contiguous() for name, tensor in (STATE | (tensors or {})).items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return str(folder)


def one_bad(value: float) -> Tensor:
    projection: Tensor = STATE["visual.proj"].clone()
    projection[3, 4] = value
    return projection


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"visual.proj": one_bad(float("nan"))}, "visual.proj: expected .* got NaN or infinity"),
        ({"visual.proj": one_bad(float("inf")).half()}, "visual.proj: .* got NaN or infinity"),
        ({name: torch.zeros_like(each) for name, each in STATE.items()}, "got 0 everywhere"),
        ({name: each.to(torch.int8) for name, each in STATE.items()}, "got torch.int8"),
        ({"visual.proj": torch.ones(32, 16, dtype=torch.complex64)}, "got torch.complex64"),
        ({"logit_scale": torch.tensor(1e9)}, "expected a finite logit scale, got inf"),
        ({"visual.ln_post.weight": torch.zeros(32)}, "embeddings of two images are the same"),
        ({"ln_final.weight": torch.zeros(16)}, "embeddings of two texts are the same"),
        (
            {"visual.conv1.weight": STATE["visual.conv1.weight"] * 1e38},
            "embeddings of images are not finite",
        ),
    ],
)
def test_weights_of_no_trained_network_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_clip(write(tmp_path / "clip", tensors=tensors))


@pytest.mark.parametrize("name", ["visual.positional_embedding", "positional_embedding"])
@pytest.mark.parametrize("shape", [(), (0, 32), (7,), (3, 32, 1)])
def test_positions_of_no_grid_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="does not fit the model"):
        load_clip(write(tmp_path / "clip", tensors={name: torch.ones(shape)}))


def test_a_temperature_may_be_a_number_or_a_list_of_one(tmp_path: Path) -> None:
    name = write(tmp_path / "clip", tensors={"logit_scale": torch.tensor([2.0])})
    assert load_clip(name).logit_scale == pytest.approx(np.exp(2.0))
    with pytest.raises(ValueError, match=r"logit_scale \(5,\), expected \(\)"):
        load_clip(write(tmp_path / "clip", tensors={"logit_scale": torch.ones(5)}))


@pytest.mark.parametrize(
    "preprocess",
    [
        {"std": [0, 0.2, 0.2]},
        {"std": [float("nan"), 0.2, 0.2]},
        {"std": [58.4, 57.1, 57.4]},
        {"std": "0.2"},
        {"mean": [0.5, 0.5]},
        {"mean": [-1, 0.5, 0.5]},
        [1, 2],
    ],
)
def test_a_normalisation_that_makes_images_alike_is_refused(
    tmp_path: Path, preprocess: object
) -> None:
    with pytest.raises(ValueError, match=r"expected (three numbers|a mapping)"):
        load_clip(write(tmp_path / "clip", preprocess=preprocess))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_cfg.layers": 10**9}, "layers of the description: expected a whole number"),
        ({"vision_cfg.layers": 10**6}, "layers of the description is 1000000, .* has 4 blocks"),
        ({"text_cfg.layers": 2}, "text_cfg.layers of the description is 2, .* has 1 blocks"),
        ({"vision_cfg.width": 10**18}, "width of the description: expected a whole number"),
        ({"vision_cfg.patch_size": 0}, "patch_size of the description: expected a whole number"),
        ({"vision_cfg.head_width": 64}, "no model can be built as its description says"),
        ({"text_cfg.width": "wide"}, "width of the description: .* got wide"),
        ({"embed_dim": 1.5}, "embed_dim of the description: .* got 1.5"),
        ({"embed_dim": 10**7}, "of another shape"),
        ({"vision_cfg": [1]}, "vision_cfg: expected a mapping, got list"),
        ({"vision_cfg.novelty": 1}, "no model can be built as its description says"),
    ],
)
def test_sizes_are_compared_with_the_file_before_anything_is_allocated(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    name = write(tmp_path / "clip", change=change)
    with pytest.raises(ValueError, match=message):
        load_clip(name)


def test_a_description_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "clip")
    (tmp_path / "clip" / "open_clip_config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="not a readable JSON file"):
        load_clip(name)


@pytest.mark.parametrize(
    "change",
    [
        {"vision_config": {"num_attention_heads": 0}},
        {"vision_config": {"hidden_size": "x"}},
        {"text_config": []},
        {"vision_config": {"hidden_act": ["gelu"]}},
    ],
)
def test_descriptions_of_transformers_are_checked_too(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write_transformers(tmp_path / "clip", Small(), Small().build())
    config = tmp_path / "clip" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ValueError, match=r"config\.json: .*expected"):
        load_clip(str(tmp_path / "clip"))


def deflated(source: Path, target: Path) -> None:
    """The same ZIP file with compressed entries."""
    with (
        zipfile.ZipFile(source) as stored,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))


def peak_bytes(path: Path, message: str, read: Callable[[Path], object] = read_tensors) -> int:
    """Most memory that refusing a file takes, in bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak + 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def test_a_file_that_unpacks_to_much_more_than_its_size_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(20 << 20)}, tmp_path / "large.pt")
    deflated(tmp_path / "large.pt", tmp_path / "bomb.pt")
    assert (tmp_path / "bomb.pt").stat().st_size < 1 << 20
    assert peak_bytes(tmp_path / "bomb.pt", "it would unpack to 8388") < 16 << 20
    assert peak_bytes(tmp_path / "bomb.pt", "it would unpack to 8388", read_archive) < 16 << 20
    torch.save({"weight": torch.ones(5)}, tmp_path / "small.pt")
    deflated(tmp_path / "small.pt", tmp_path / "packed.pt")
    assert read_tensors(tmp_path / "packed.pt")["weight"].tolist() == [1.0] * 5


class Hollow:
    """An array with a shape and without numbers."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return np.empty(0).__reduce__()[0], (np.ndarray, (8 << 30,), b"b")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(1 << 16, 1 << 16),
        torch.empty(1 << 20, 1 << 20, device="meta"),
        Hollow(),
    ],
    ids=["expanded", "meta", "hollow"],
)
def test_tensors_that_claim_more_than_the_file_holds_are_refused(
    tmp_path: Path, value: object
) -> None:
    torch.save({"weight": value}, tmp_path / "claims.pt")
    with pytest.raises(ValueError, match=r"not a readable PyTorch file .*they claim"):
        read_tensors(tmp_path / "claims.pt")


class _Storage:
    def __init__(self, count: int) -> None:
        self.pid = ("storage", torch.FloatStorage, "0", "cpu", count)


class _View:
    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return torch._utils._rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        return value.pid if isinstance(value, _Storage) else None


def archive_of(path: Path, program: bytes) -> Path:
    """A TorchScript archive whose pickle is `program`, with one storage of four numbers."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", program)
        file.writestr("a/constants.pkl", b"")
        file.writestr("a/data/0", bytes(16))
    return path


def module_of(state: object) -> bytes:
    """The pickle of one inert module with a state."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(state)
    return b"\x80\x02c__torch__\nM\n)\x81" + buffer.getvalue()[2:-1] + b"b."


@pytest.mark.parametrize("size", [(1 << 20, 1 << 20), (1 << 70,)])
def test_views_of_an_archive_cannot_grow_without_end(tmp_path: Path, size: tuple[int, ...]) -> None:
    stride = (0,) * len(size)
    program = module_of({"w": _View(_Storage(4), 0, size, stride, False, {})})
    path = archive_of(tmp_path / "a.pt", program)
    assert peak_bytes(path, "they claim", read_archive) < 16 << 20


def test_modules_that_share_modules_are_walked_once(tmp_path: Path) -> None:
    program = b"\x80\x02c__torch__\nM\n)\x81}bq\x00"
    for level in range(50):  # 2 ** 50 ways to the last
        below = b"h" + bytes([level])
        names = b"X\x01\x00\x00\x00a" + below + b"X\x01\x00\x00\x00b" + below
        program += b"c__torch__\nM\n)\x81}(" + names + b"ubq" + bytes([level + 1])
    assert read_archive(archive_of(tmp_path / "a.pt", program + b".")).tensors == {}
