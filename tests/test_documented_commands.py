"""Every command line that README and the pages show can be typed as it stands.

Commands are not carried out: their words are given to the parsers that the commands have. Where a
page names a command inside a sentence, what it requires may be left out.
"""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import flags
from bench.errors import BenchError
from weakclip.cli.main import parser as weakclip_parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), Path("results/README.md")]
PAGES += [Path("weakclip/assets/README.md"), *sorted(Path("docs").glob("*.md"))]
SESSIONS = {
    "ablate": ["bench", "run"],
    "report": ["bench", "report"],
    "search": ["bench", "search"],
    "gallery": ["bench", "gallery"],
    "profile": ["bench", "profile"],
    "bench": ["bench.speed.stored"],
    "gpu": ["bench.speed.gpu"],
    "pretrain": ["bench.cartoon.pretraining.clip"],
    "tests": ["pytest"],
    "typing": ["mypy"],
    "docs": ["zensical"],
    "lint": ["ruff"],
}
"""What a session hands its words to."""
NEEDS_STUDY = {"ablate"}
STARTS = ("nox ", "python ", "weakclip ", "torchrun ")
NOT_OURS = {"pip", "pytest", "mypy", "zensical", "ruff", "twine", "build"}


def commands() -> Iterator[tuple[str, str, bool]]:
    """Page, command line and whether it stands in a block of its own, for each command."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((page.name, part, True) for part in _parts(line))
        plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"`([^`]+)`", plain):
            yield from ((page.name, part, False) for part in _parts(" ".join(span.split())))


def _parts(line: str) -> Iterator[str]:
    """The commands of a line that are ours: without comments, variables in front and launchers."""
    for part in re.split(r"&&|\|", line.partition(" #")[0]):
        found = re.sub(r"^\s*((\w+=\S+|srun)\s+)*", "", part).rstrip(" &")
        if found.startswith(STARTS):
            yield found


FOUND = sorted(set(commands()))


@pytest.mark.parametrize(("page", "line", "whole"), FOUND, ids=lambda value: str(value))
def test_a_command_of_the_pages_is_one_that_exists(
    page: str, line: str, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        _check(shlex.split(line))
    except BenchError as error:
        problem = str(error)
    except SystemExit:
        problem = capsys.readouterr().err
    else:
        return
    unfinished = (
        "arguments are required" in problem or "argument" in problem.partition("expected")[2]
    )
    assert unfinished, f"{page}: `{line}`: {problem}"
    assert not whole, f"{page}: `{line}`: {problem}"


def test_the_pages_show_commands_of_every_kind() -> None:
    lines = [line for _, line, _ in FOUND]
    for start in ("nox -s", "python -m nox", "python -m bench ", "python -m bench.", "weakclip "):
        assert any(line.startswith(start) for line in lines), start
    assert len(FOUND) > 60


@pytest.mark.parametrize(
    "line",
    [
        "weakclip check voc --root VOC2012", "weakclip crop photos", "nox -s ablation",
        "python -m bench rn components", "python -m bench run components --sed 0",
        "python -m bench.nothing", "python -m bench.cartoon --nothing", "python nothing.py",
    ],
)  # fmt: skip
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises((BenchError, SystemExit, AssertionError)):
        _check(shlex.split(line))


def _check(words: Sequence[str]) -> None:
    """Refuse a command line that its program would refuse."""
    match list(words):
        case ["python", "-m", "nox", *rest] | ["nox", *rest]:
            _check_nox(rest)
        case ["weakclip", *rest] | ["python", "-m", "weakclip", *rest]:
            weakclip_parser(rest).parse_args(rest)
        case ["torchrun", *rest]:
            _check(["python", "-m", *rest[rest.index("-m") + 1 :]])
        case ["python", "-m", "bench", *rest]:
            flags.parser().parse_args(rest)
        case ["python", "-m", module, *rest]:
            _check_module(module, rest)
        case ["python", path, *_]:
            assert Path(path).is_file(), f"no file {path}"


def _check_nox(words: Sequence[str]) -> None:
    cut = words.index("--") if "--" in words else len(words)
    session, rest = words[:cut], words[cut + 1 :]
    if not session:
        return
    assert session[0] in ("-s", "-l"), f"nox: expected -s or -l, got {session[0]}"
    for name in session[1:]:
        assert f"\ndef {name}(session: nox.Session)" in Path("noxfile.py").read_text(), name
        handed = list(rest)
        if name in NEEDS_STUDY and (not handed or handed[0].startswith("-")):
            handed = ["components", *handed]
        if rest or name in NEEDS_STUDY:
            _check(["python", "-m", *SESSIONS[name], *handed])


def _check_module(module: str, words: Sequence[str]) -> None:
    if module.partition(".")[0] in NOT_OURS:
        return
    top = find_spec(module.partition(".")[0])
    spec = top and find_spec(module)
    assert spec is not None, f"no module {module}"
    if spec.submodule_search_locations is not None:
        spec = find_spec(f"{module}.__main__")
        assert spec is not None, f"{module} is not a program"
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert "__main__" in source or module.endswith("__main__") or "main(" in source
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in source, f"{module} has no {word}"
