from __future__ import annotations

import pickle
import warnings
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from tests.weakclip.clip.conftest import Small, write_archive
from weakclip.clip.archive import is_archive, read_archive

if TYPE_CHECKING:
    from pathlib import Path


def test_tensors_are_those_of_torchs_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    write_archive(path, Small(quick_gelu=True).build(), 48)
    archive = read_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(path).state_dict()  # type: ignore[no-untyped-call]
    assert set(archive.tensors) == set(expected)
    for name, tensor in expected.items():
        assert archive.tensors[name].dtype == tensor.dtype
        assert torch.equal(archive.tensors[name], tensor), name
    assert {tensor.dtype for tensor in expected.values()} >= {torch.float16, torch.float32}
    assert "QuickGELU" in archive.modules
    assert is_archive(path)


class Trap:
    """What an attacker would put into a pickle."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("__import__('pathlib').Path('trapped').touch()",))


def test_code_in_an_archive_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("trap.pt", "w") as file:
        file.writestr("trap/data.pkl", pickle.dumps(Trap()))
        file.writestr("trap/constants.pkl", b"")
    assert is_archive(tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"it names builtins\.eval"):
        read_archive(tmp_path / "trap.pt")
    assert not (tmp_path / "trapped").exists()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    write_archive(path, Small().build(), 48)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "short.pt", "w") as short:
        for name in whole.namelist():
            cut = 3 if name.endswith("data/0") else None
            short.writestr(name, whole.read(name)[:cut])
    with pytest.raises(ValueError, match=r"storage 0: expected .* got 3 bytes"):
        read_archive(tmp_path / "short.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    assert not is_archive(tmp_path / "empty.pt")
    with pytest.raises(ValueError, match="not a readable TorchScript archive"):
        read_archive(tmp_path / "empty.pt")
