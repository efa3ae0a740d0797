"""The readers of files from outside, each with small valid inputs that a sweep damages."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_tensors
from scipy.io import savemat
from scipy.sparse import csc_matrix

from bench.runs.queue import open_queue
from bench.runs.scores import score
from bench.runs.store import Store, pack
from tests.bench.records import RECORD
from weakclip.clip.archive import read_archive
from weakclip.clip.tensors import read_tensors
from weakclip.data.build import coco as build_coco
from weakclip.data.build.job import build_masks
from weakclip.data.build.sbd import read_sbd_mask
from weakclip.data.formats.masks import read_mask
from weakclip.data.formats.scores import read_scores
from weakclip.data.read.coco import list_coco
from weakclip.data.read.folder import list_folder
from weakclip.data.read.images import probe
from weakclip.data.read.voc import list_voc
from weakclip.stages.words import Words, read_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord

SIZE = (12, 16)
RUN = (RECORD.study, RECORD.variant, RECORD.seed)


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader of one format."""

    name: str
    file: str
    """Where the input lies below the folder of a trial."""
    inputs: tuple[bytes, ...]
    """Valid ones."""
    read: Callable[[Path], object]
    """Reads the input of a folder; writes below `out` in it only."""
    text: bool = False
    """Whether damage of words is likelier to go deep than damage of bytes."""


@cache
def readers() -> tuple[Reader, ...]:
    """Every reader."""
    return (
        Reader("tags csv", "labels.csv", _CSV, lambda at: list_folder(at, at / "labels.csv"), True),
        Reader("words csv", "words.csv", (b"class,phrases\ncat,cat;kitten\nbackground,sky\n",),
               lambda at: read_words(at / "words.csv", Words()), True),
        Reader("words toml", "words.toml", (b'template = "a {}."\n[classes]\ncat = ["cat"]\n',),
               lambda at: read_words(at / "words.toml", Words()), True),
        Reader("coco tags", "instances.json", _coco(),
               lambda at: list_coco(at / "instances.json", at), True),
        Reader("coco masks", "instances.json", _coco(), _build_coco, True),
        Reader("voc xml", "voc/Annotations/a.xml", (_XML,), lambda at: list_voc(at / "voc"), True),
        Reader("voc list", "voc/ImageSets/Segmentation/train.txt", (b"a\n", b"/a.jpg /a.png\n"),
               lambda at: list_voc(at / "voc"), True),
        *(
            Reader(f"image {suffix}", f"x.{suffix}", tuple(_images(suffix)),
                   partial(_probe, suffix=suffix))
            for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp")
        ),
        Reader("mask", "m.png", (_image("P", "png"), _image("L", "png")),
               lambda at: read_mask(at / "m.png")),
        Reader("scores npy", "s.npy", (_npy(np.full((2, *SIZE), 0.5, np.float32)),),
               lambda at: read_scores(at / "s.npy")),
        Reader("scores npz", "s.npz", (_npz(),), lambda at: read_scores(at / "s.npz", "logits")),
        Reader("sbd mat", "s.mat", tuple(_mats()), lambda at: read_sbd_mask(at / "s.mat")),
        Reader("safetensors", "w.safetensors", (save_tensors({"a": torch.ones(2, 3)}),),
               lambda at: read_tensors(at / "w.safetensors")),
        Reader("torch file", "w.pt", (_torch_file(),), lambda at: read_tensors(at / "w.pt")),
        Reader("openai archive", "a.pt", (_archive(),), lambda at: read_archive(at / "a.pt")),
        Reader("record", "runs/fake/full/seed0.json", (pack(_scored(), _COUNTS).record.encode(),),
               _read_record, True),
        Reader("record counts", "runs/fake/full/seed0.npz",
               (pack(_scored(), _COUNTS).counts or b"",), _read_record),
        Reader("journal", "out/q.journal", (_JOURNAL,), _open_journal, True),
    )  # fmt: skip


def prepare(folder: Path) -> None:
    """Put what the readers need in addition to their input into the folder of a trial."""
    for name in ("out", "voc/SegmentationClass"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in _ready().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def restore(folder: Path, reader: Reader) -> None:
    """Take the input of a reader away again."""
    path = folder / reader.file
    path.unlink(missing_ok=True)
    if reader.file in _ready():
        path.write_bytes(_ready()[reader.file])


@cache
def _ready() -> dict[str, bytes]:
    packed, photo = pack(_scored(), _COUNTS), _image("RGB", "jpg")
    return {
        "a.jpg": photo,
        "b.jpg": photo,
        "voc/JPEGImages/a.jpg": photo,
        "voc/Annotations/a.xml": _XML,
        "voc/ImageSets/Segmentation/train.txt": b"a\n",
        "runs/fake/full/seed0.json": packed.record.encode(),
        "runs/fake/full/seed0.npz": packed.counts or b"",
    }


_COUNTS = {"task": np.ones((2, 2, 3), np.int64)}


@cache
def _scored() -> RunRecord:
    """A record whose scores follow from the counts."""
    means, classes = score(_COUNTS["task"], None, ["background", "cat"])
    return replace(RECORD, metrics={"task": means}, per_class={"task": classes})


_CSV = (
    b"file,labels\na.jpg,cat;dog\nb.jpg,\"dog, cow\"\n",
    "\ufefffile;labels\r\na.jpg;cat\r\nb.jpg;chien \u00e0 poil\r\n".encode(),
    "file,labels\na.jpg,cat\n".encode("utf-16"),
    b"file,dog,cow\na.jpg,1,0\nb.jpg,1,1\n",
)  # fmt: skip
_XML = (
    b"<annotation><object><name>cat</name></object><object><name>dog</name></object></annotation>"
)
_JOURNAL = (
    b'{"op_code":0,"worker_id":"w","study_name":"weakclip-bench","directions":[2]}\n'
    b'{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"state":4,"value":null,'
    b'"values":null,"distributions":{},"params":{},"user_attrs":{"ticket":{"study":"fake",'
    b'"variant":"full","seed":0,"preset":"cartoon","config_id":"c","conditions":"d","code":"x",'
    b'"command":"r"},"order":{"after":-1,"deaths":0}},"system_attrs":{},"intermediate_values":{}}\n'
    b'{"op_code":6,"worker_id":"w","trial_id":0,"state":0,"values":null,'
    b'"datetime_start":"2026-11-28T19:47:00.159937+00:00"}\n'
    b'{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"step":[1,2]}}\n'
)


def _coco() -> tuple[bytes, ...]:
    forms: list[object] = [
        [[0, 0, 4, 0, 4, 3, 0, 3]],
        {"size": list(SIZE), "counts": [36, 12, SIZE[0] * SIZE[1] - 48]},
        {"size": list(SIZE), "counts": "T14d4"},
    ]
    content = {
        "images": [
            {"id": number, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for number, name in ((1, "a"), (2, "b"))
        ],
        "annotations": [
            {"id": number, "image_id": 1 + number % 2, "category_id": 3, "iscrowd": number % 2,
             "segmentation": form}
            for number, form in enumerate(forms, start=1)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }  # fmt: skip
    return json.dumps(content).encode(), json.dumps(content, indent=1).encode("utf-16")


def _build_coco(folder: Path) -> None:
    sources = build_coco.read_sources(folder / "instances.json", folder)
    jobs = build_coco.mask_jobs(sources, "contiguous", "class")
    build_masks(jobs, folder / "out" / "m", replace=True, report=lambda _done, _total: None)
    build_coco.write_tags(folder / "out", sources, "contiguous")


def _probe(folder: Path, suffix: str) -> object:
    return probe(folder / f"x.{suffix}")


def _read_record(folder: Path) -> None:
    store = Store(folder)
    record = store.read(*RUN)
    if record is not None and record.status == "ok":
        store.counts(record)


def _open_journal(folder: Path) -> None:
    with closing(open_queue(str(folder / "out" / "q.journal"))) as queue:
        queue.recover()


def _image(mode: str, suffix: str) -> bytes:
    pixels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 20
    buffer = io.BytesIO()
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
    Image.fromarray(pixels).convert(mode).save(buffer, format=kind)
    return buffer.getvalue()


def _images(suffix: str) -> Iterator[bytes]:
    modes = {"png": ("RGB", "RGBA", "L", "P", "I;16", "1"), "jpg": ("RGB", "L", "CMYK")}
    for mode in modes.get(suffix, ("RGB", "L")):
        yield _image(mode, suffix)


def _npy(values: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, probs=np.zeros((2, *SIZE), np.float32), other=np.zeros(3))
    return buffer.getvalue()


def _mats() -> Iterator[bytes]:
    boundaries = np.empty((2, 1), dtype=object)
    boundaries[:, 0] = [csc_matrix(np.eye(3)), "text"]
    fields = {"Boundaries": boundaries, "Segmentation": np.ones(SIZE, np.uint8), "Present": [1, 2]}
    for compressed in (False, True):
        for values in ({"GTcls": fields}, {"GTinst": {"Categories": 1.0}, "GTcls": fields}):
            buffer = io.BytesIO()
            savemat(buffer, values, do_compression=compressed)  # type: ignore[arg-type]
            yield buffer.getvalue()


def _torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"module.a": torch.ones(2, 3)}, "epoch": 3}, buffer)
    return buffer.getvalue()


def _archive() -> bytes:
    """A TorchScript archive as `torch.jit.save` lays it out, written without it."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2, 3)}, buffer)
    with zipfile.ZipFile(io.BytesIO(buffer.getvalue())) as saved:
        members = {name: saved.read(name) for name in saved.namelist()}
    root = next(iter(members)).split("/")[0]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
        packed.writestr(f"{root}/constants.pkl", b"\x80\x02).")
    return out.getvalue()
