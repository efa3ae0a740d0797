from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.fuzz.readers import prepare, readers, restore
from tests.fuzz.sweep import damaged, fault_of

if TYPE_CHECKING:
    from pathlib import Path


def test_every_reader_takes_its_valid_inputs(tmp_path: Path) -> None:
    prepare(tmp_path / "trial")
    for reader in readers():
        for content in reader.inputs:
            (tmp_path / "trial" / reader.file).write_bytes(content)
            if reader.name not in ("openai archive", "voc xml", "voc list", "tags csv"):
                reader.read(tmp_path / "trial")
            assert fault_of(reader, content, tmp_path) is None
            restore(tmp_path / "trial", reader)


def test_damage_is_the_same_for_one_number() -> None:
    content = b'{"a": [1, 2], "b": "text"}'
    once, again = (damaged(content, random.Random(7), text=True) for _ in range(2))
    assert once == again
    assert len({damaged(content, random.Random(n), text=True) for n in range(50)}) > 30


def test_faults_are_seen(tmp_path: Path) -> None:
    def stray(folder: Path) -> None:
        (folder / "stray").write_text("")

    def raw(_folder: Path) -> None:
        raise KeyError("x")

    def two_lines(_folder: Path) -> None:
        raise ValueError("a\nb")

    reader = readers()[0]
    for read, fault in ((stray, "wrote trial/stray"), (raw, "KeyError"), (two_lines, "more than")):
        found = fault_of(replace(reader, read=read), b"", tmp_path)
        assert found is not None
        assert found.startswith(fault)
