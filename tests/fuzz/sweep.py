"""A sweep of damaged files through every reader: `nox -s fuzz -- --seconds 600`.

Each trial takes a valid input, damages it and reads it. Allowed are a result, or an error of one
line that is meant for people; a traceback of another kind, the end of the process, more than
`MEMORY` above what the process held, more than `PATIENCE` seconds, or a file outside of the folder
`out` is a fault. A trial is repeated by its number: `--only NUMBER`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from tests.fuzz.readers import Reader, prepare, readers, restore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEMORY = 1 << 30
"""Bytes that a trial may take."""
PATIENCE = 20.0
"""Seconds that a trial may take."""
FOR_PEOPLE = (ValueError, FileNotFoundError, BenchError)
RAW = (json.JSONDecodeError, UnicodeError)
"""Kinds of `ValueError` that Python raises, and that say nothing of the file."""
WORDS = (
    b"", b"\0", b"\n", b"\r\n", b'"', b"'", b",", b";", b"{", b"}", b"[", b"]", b"[[]]", b"null",
    b"true", b"NaN", b"-Infinity", b"1e9", b"1e400", b"-1", b"0", b"65536", b"4294967295",
    b"18446744073709551616", b"9" * 400, b"../../x", b"/etc/passwd", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\\ud800", b"\x1b[31m", "\u00e9\u0301".encode(), b"a" * 300, b"[" * 3000, b'{"op_code":4,',
)  # fmt: skip
_TOKEN = re.compile(rb'-?[0-9][0-9.eE+-]*|"[^"]*"|[A-Za-z_]+|[^\sA-Za-z0-9]')


def damaged(content: bytes, random_: random.Random, *, text: bool) -> bytes:
    """The content with one to four faults."""
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        words = text and random_.random() < 0.7
        content = _reworded(content, random_) if words else _broken(content, random_)
    return content


def _reworded(content: bytes, random_: random.Random) -> bytes:
    """One word for another, of the file or a hostile one."""
    found = list(_TOKEN.finditer(content))
    if not found:
        return content
    start, end = random_.choice(found).span()
    other = random_.choice(found)[0] if random_.random() < 0.3 else random_.choice(WORDS)
    return content[:start] + other + content[end:]


def _broken(content: bytes, random_: random.Random) -> bytes:
    """Bytes changed, cut off, left out, doubled, zeroed or put in."""
    size = len(content)
    one, other = sorted((random_.randint(0, size), random_.randint(0, size)))
    match random_.randrange(7):
        case 0 | 1:
            changed = bytearray(content)
            for _ in range(random_.choice((1, 1, 2, 8))):
                if size:
                    at = random_.randrange(size)
                    changed[at] = random_.choice((0, 1, 127, 128, 255, random_.randrange(256)))
            return bytes(changed)
        case 2:
            return content[:one]
        case 3:
            return content[:one] + content[min(other, one + 64) :]
        case 4:
            return content[:other] + content[one:other] + content[other:]
        case 5:
            stop = min(other, one + 16)
            return content[:one] + bytes(stop - one) + content[stop:]
        case _:
            return content[:one] + random_.choice(WORDS) + content[one:]


def fault_of(reader: Reader, content: bytes, place: Path) -> str | None:
    """What is wrong with how a reader takes an input; none if nothing is."""
    folder = place / "trial"
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    (folder / reader.file).write_bytes(content)
    before = _files(place)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            reader.read(folder)
    except FOR_PEOPLE as error:
        if isinstance(error, RAW) or not str(error):
            return _told(error)
        if len(str(error).splitlines()) > 1:
            return f"more than one line: {_told(error)}"
    except Exception as error:  # that is what is looked for
        return _told(error)
    strays = [name for name in _files(place) - before if not name.startswith("trial/out/")]
    return f"wrote {strays[0]}" if strays else None


def _files(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def _told(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error!s:.200}"


def _trial(number: int, every: Sequence[Reader]) -> tuple[Reader, bytes]:
    random_ = random.Random(number)
    reader = every[number % len(every)]
    return reader, damaged(random_.choice(reader.inputs), random_, text=reader.text)


def _serve(at: Any, stop: float, place: Path, found: Path) -> None:  # noqa: ANN401 (a shared value)
    """Try one number after the other, in a process of its own."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    every = readers()
    prepare(place / "trial")
    while time.monotonic() < stop:
        reader, content = _trial(at.value, every)
        fault = fault_of(reader, content, place)
        restore(place / "trial", reader)
        if fault is not None:
            with found.open("a") as file:
                file.write(json.dumps([at.value, reader.name, fault]) + "\n")
        at.value += 1


def sweep(seconds: float, first: int = 0) -> tuple[int, list[tuple[int, str, str]]]:
    """Try damaged inputs for a time.

    Returns:
        How many were tried, and number, reader and what was wrong of those with a fault.
    """
    stop = time.monotonic() + seconds
    context = multiprocessing.get_context("fork")
    at = context.Value("q", first)
    with tempfile.TemporaryDirectory() as name:
        found = Path(name) / "found"
        found.touch()
        while time.monotonic() < stop:
            place = Path(name) / "place"
            place.mkdir(exist_ok=True)
            process = context.Process(target=_serve, args=(at, stop, place, found))
            process.start()
            ending = _watch(process, at)
            if ending:
                with found.open("a") as file:
                    file.write(json.dumps([at.value, "", ending]) + "\n")
                at.value += 1
        lines = [json.loads(line) for line in found.read_text().splitlines()]
    every = readers()
    named = [(number, name or every[number % len(every)].name, why) for number, name, why in lines]
    return at.value - first, named


def _watch(process: Any, at: Any) -> str:  # noqa: ANN401 (of multiprocessing)
    """Wait for the end of a process; says what was wrong with it."""
    number, since = at.value, time.monotonic()
    while process.is_alive():
        process.join(0.2)
        if at.value != number:
            number, since = at.value, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            process.kill()
            process.join()
            return f"took more than {PATIENCE:.0f} s"
    return f"the process ended with {process.exitcode}" if process.exitcode else ""


def _kinds(faults: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    """A line for each kind of fault, with a number that repeats it."""
    kinds = Counter((name, why.partition(": ")[0]) for _, name, why in faults)
    for (name, kind), count in kinds.most_common():
        number, why = next((n, w) for n, who, w in faults if who == name and w.startswith(kind))
        yield f"{name}: {count} times, e.g. --only {number}: {why}"


def main(argv: Sequence[str] | None = None) -> int:
    """Sweep, or repeat one trial; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--only", type=int, help="repeat one trial, with its traceback")
    args = parser.parse_args(argv)
    if args.only is not None:
        reader, content = _trial(args.only, readers())
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name))
            (Path(name) / reader.file).write_bytes(content)
            sys.stdout.write(f"{reader.name}: {content[:2000]!r}\n")
            sys.stdout.write(f"{reader.read(Path(name))!r}\n")
        return 0
    count, faults = sweep(args.seconds, args.first)
    for line in _kinds(faults):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(json.dumps({"inputs": count, "faults": len(faults)}) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
