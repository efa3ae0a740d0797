"""The flags of `python -m bench`, and the conversion of their values.

Flags select what is run and where files are; settings that change results are configuration. Slow
imports are in the functions that need them, so that `--help` prints at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from bench.choices import HEARTBEAT, PRECISIONS, PRESETS, OnExisting
from bench.errors import BenchError, unknown
from weakclip.version import add_version_flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.method import Outside
    from bench.tasks.own import OwnImages

DESCRIPTION = """Run studies, and make tables, figures and pages of their records.

Exit codes: 0 done, 1 a run failed or a table is stale, 2 bad input. The last line of stdout is
one JSON object.
"""
DEFAULT_PRESET = "cartoon"
RESULTS = Path("results")
ARTIFACTS = Path("artifacts")
JOURNAL = "queue.journal"
DEVICES = ("auto", "cpu", "cuda")
TRIALS = 40
IDLE = 60.0
"""Seconds without a waiting or running run after which `work` ends."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the error that `main` prints."""
        raise BenchError(f"{message}; `{self.prog} --help` lists what there is")


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="python -m bench", description=DESCRIPTION, allow_abbrev=False)
    add_version_flag(top)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="studies and how many records they have")
    run = commands.add_parser("run", help="run studies and write their tables and figures")
    work = commands.add_parser("work", help="do runs that another command requested")
    status = commands.add_parser("status", help="what runs where, rate, time left, failures")
    search = commands.add_parser("search", help="search hyper-parameters on the split `tune`")
    report = commands.add_parser("report", help="rebuild tables and figures from the records")
    gallery = commands.add_parser("gallery", help="train a few rows and keep pictures of them")
    packing = commands.add_parser("pack", help="put the files of runs into few files, for git")
    comparing = commands.add_parser("compare", help="difference of two rows with its interval")
    _add_profile_flags(commands.add_parser("profile", help="parameters, FLOPs, speed, memory"))
    _add_run_flags(run)
    _add_outside_flags(run)
    _add_search_flags(search)
    _add_gallery_flags(gallery)
    for command in (run, work, search):
        _add_site_flags(command)
    for command in (run, work):
        command.add_argument(
            "--precision", choices=PRECISIONS, default="float32",
            help="of WeakCLIP's network, part of the protocol; default: %(default)s",
        )  # fmt: skip
        command.add_argument(
            "--write-masks", type=Path, metavar="DIR",
            help="also write the pseudo masks of all training images of each run that is carried "
            "out, before and after the CRF, for a network elsewhere to learn from",
        )  # fmt: skip
    work.add_argument(
        "--idle", type=float, default=IDLE, metavar="SECONDS",
        help="end when for so long no run was waiting or running; default: %(default)g",
    )  # fmt: skip
    for command in (run, work, status, search):
        _add_storage_flags(command)
    report.add_argument("studies", nargs="*", metavar="STUDY", help="default: all with records")
    report.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=False,
        help="write nothing; exit 1 if a table or figure does not match the records",
    )  # fmt: skip
    packing.add_argument("studies", nargs="*", metavar="STUDY", help="default: all with records")
    comparing.add_argument("first", metavar="STUDY/VARIANT")
    comparing.add_argument("second", metavar="STUDY/VARIANT")
    _add_site_flags(gallery)
    for command in (report, comparing, packing):
        command.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    listing.add_argument(
        "--out", type=Path, help="folder of the records; default: every one that `run` writes to"
    )
    return top


def _add_profile_flags(profile: argparse.ArgumentParser) -> None:
    add, switch = profile.add_argument, argparse.BooleanOptionalAction
    add("--study", default="components", help="whose variants; default: %(default)s")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    add("--device", default="auto", help=f"one of: {', '.join(DEVICES)}")
    add("--sizes", nargs="+", choices=("micro", "paper"), help="default: both")
    add("--quick", action=switch, default=False, help="micro size, reference only, two calls")
    add("--compiled", action=switch, help="also what torch.compile makes of the reference, a "
        "minute or two a line; default: yes, not with --quick")  # fmt: skip
    add("--repeats", type=int, help="most timed calls a line, 2 or more, within 10 s; default: 5, "
        "50 on cuda, 2 with --quick")  # fmt: skip
    add("--reference-only", action=switch, default=False,
        help="time the study's reference alone, no baselines")  # fmt: skip
    add("--scaling", action=switch, default=False,
        help="instead: cost against image side, classes, batch and prompts")  # fmt: skip
    add("--rebuild", action=switch, default=False,
        help="measure nothing; make the tables from perf/*.json again")  # fmt: skip


def _add_run_flags(run: argparse.ArgumentParser) -> None:
    add = run.add_argument
    add("studies", nargs="+", metavar="STUDY", help="names as `list` shows them, or `all`")
    add("--preset", help=f"one of: {', '.join(PRESETS)}; default: the study's own, else "
        f"{DEFAULT_PRESET}")  # fmt: skip
    add("--only-dials", nargs="+", default=[], metavar="NAME",
        help="of a study with dials: the centre and these; default: all")  # fmt: skip
    add("--set", nargs="+", default=[], metavar="PATH=VALUE",
        help="change the preset, e.g. recipe.iterations=500 scales=[1.0] splits.val=train; the "
        "runs make a study of their own, <study>-set-<hash>")  # fmt: skip
    add("--out", type=Path, help="records and tables; default: results, or artifacts/<preset> "
        "for a preset other than the default")  # fmt: skip
    add("--seeds", nargs="+", metavar="N", help="default: those of the study")
    add("--variants", nargs="+", metavar="NAME", default=[], help="default: all of the study")
    add("--on-existing", default="missing", metavar="|".join(get_args(OnExisting)),
        help="missing: run again what failed, is broken or was made otherwise; "
        "renew: also records committed with the checkout; keep: leave every file; "
        "replace: run everything")  # fmt: skip
    add("--workers", type=int, help="runs at a time on this machine; default: CPU cores, 1 on "
        "cuda, 0 with --storage: `python -m bench work` does them")  # fmt: skip
    add("--dry-run", action=argparse.BooleanOptionalAction, default=False,
        help="show what would be run; protocol, data and weights are not compared")  # fmt: skip


def _add_outside_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    for what in ("masks", "maps"):
        add(f"--row-{what}", nargs="+", default=[], metavar="NAME=DIR",
            help=f"{what} made elsewhere, as a further row of a study of methods")  # fmt: skip
    add("--cite", nargs="+", default=[], metavar="NAME=TEXT", help="where such a row comes from")


def _add_gallery_flags(gallery: argparse.ArgumentParser) -> None:
    add = gallery.add_argument
    add("study", nargs="?", default="components", metavar="STUDY", help="default: %(default)s")
    add("--variants", nargs="+", metavar="NAME", default=["full", "baseline"],
        help="rows to show; the first decides which images; default: full baseline")  # fmt: skip
    add("--preset", default=DEFAULT_PRESET, help=f"one of: {', '.join(PRESETS)}")
    add("--out", type=Path, help="default: results, or artifacts/<preset>")
    add("--artifacts", type=Path, default=ARTIFACTS, help="folder for what can be made again")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)d")
    add("--worst", type=int, default=16, metavar="N", help="worst images; default: %(default)d")


def _add_search_flags(search: argparse.ArgumentParser) -> None:
    add = search.add_argument
    add("--preset", default=DEFAULT_PRESET, help=f"one of: {', '.join(PRESETS)}")
    add("--out", type=Path, help="tables and figures; default: as for `run`")
    add("--trials", type=int, default=TRIALS, metavar="N", help="default: %(default)d")
    add("--seeds", nargs="+", metavar="N", default=["0"], help="trainings per trial; default: 0")
    add("--by-time-too", action=argparse.BooleanOptionalAction, default=False,
        help="two objectives, mIoU and seconds of training; no trial is stopped early")  # fmt: skip
    add("--source", type=Path, help="Python file for the best configuration; default: "
        "found_<preset>.py next to the tables")  # fmt: skip


def _add_site_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--data-root", type=Path, help="data set on disk, of --preset folder the folder of images; "
        "default: made by the preset")  # fmt: skip
    own = (
        ("--tags", "file of tags; default: labels.csv in --data-root, else its sub-folders"),
        ("--masks", "folder of annotated masks of some images"),
        ("--classes", "class names in the order of labels, one a line; default: the tags, sorted"),
        ("--val", "list of images that are not trained on; default: docs/adding-a-data-set.md"),
    )
    for flag, what in own:
        add(flag, type=Path, metavar="PATH", help=f"--preset folder: {what}")
    add("--clip-stages", type=Path, metavar="DIR",
        help="folder with other micro-CLIPs, for presets with clip_stage=NAME")  # fmt: skip
    add("--weights", type=Path, help="weights of the CLIP of photographs; default: looked for in "
        "the local caches")  # fmt: skip
    add("--device", default="auto", help=f"one of: {', '.join(DEVICES)}")
    add("--verbose", action=argparse.BooleanOptionalAction, default=False,
        help="tracebacks of failed runs")  # fmt: skip


def _add_storage_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--artifacts", type=Path, default=ARTIFACTS, help="folder for what can be made again")
    add("--storage", help="queue of the runs: URL of a database that all machines reach, such as "
        "postgresql+psycopg://user@host/name, or path of a journal file on this machine; "
        f"default: {JOURNAL} in the folder of artifacts")  # fmt: skip
    add("--heartbeat", type=int, default=HEARTBEAT, metavar="SECONDS",
        help="between two signs of life of a worker in a database; after three times that its "
        "run is given to another; default: %(default)d")  # fmt: skip


def storage_of(options: argparse.Namespace) -> str:
    """Return the storage of the queue; by default the journal in the folder of artifacts.

    Raises:
        BenchError: If the heartbeat is less than a second.
    """
    if options.heartbeat < 1:
        raise BenchError(f"--heartbeat: expected 1 second or more, got {options.heartbeat}")
    return str(options.storage or (options.artifacts / JOURNAL).as_posix())


def preset_of(options: argparse.Namespace, own: str = DEFAULT_PRESET) -> str:
    """Return the name of the preset with the changes of `--set`; `own` is the default preset.

    Raises:
        BenchError: If the preset is unknown, or a change is not valid.
    """
    base = one_of("preset", options.preset or own, PRESETS)
    from bench.studies.preset import load_preset

    name = "+".join([base, *getattr(options, "set", [])])
    load_preset(name)
    return name


def data_of(options: argparse.Namespace) -> Path | OwnImages | None:
    """Return the folder of the data set, or the user's own images; None if neither is given.

    Raises:
        BenchError: If files of a user's own data set are given without the images.
    """
    from bench.tasks.own import OwnImages

    own = {name: getattr(options, name) for name in ("tags", "masks", "classes", "val")}
    if not any(own.values()):
        root: Path | None = options.data_root
        return root
    if options.data_root is None:
        given = ", ".join(f"--{name}" for name, path in own.items() if path)
        raise BenchError(f"{given}: expected --data-root, the folder of the images, too")
    return OwnImages(root=options.data_root, **own)


def outside_of(options: argparse.Namespace) -> dict[str, Outside]:
    """Return the masks and maps from outside by the name of their row; no file is read.

    Raises:
        BenchError: If a word is not NAME=VALUE, a name occurs twice, a citation has no row, or
            there is a storage that other machines use.
    """
    from bench.studies.method import Outside

    cited = dict(_pair("--cite", word) for word in options.cite)
    found: dict[str, Outside] = {}
    for what, words in (("masks", options.row_masks), ("maps", options.row_maps)):
        for word in words:
            name, folder = _pair(f"--row-{what}", word)
            if name in found:
                raise BenchError(
                    f"--row-{what} {word}: a second row {name!r}; give it another name"
                )
            found[name] = Outside(
                what="masks" if what == "masks" else "maps",
                folder=Path(folder).expanduser(),
                sha256="",
                citation=cited.pop(name, ""),
            )
    for name in cited:
        raise unknown("row of --cite", name, found)
    if found and options.storage is not None:
        raise BenchError(
            "--row-masks, --row-maps: workers on other machines have no such folder; run these "
            "rows without --storage, by --variants"
        )
    return found


def _pair(flag: str, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not (name and equals and value):
        raise BenchError(f"{flag} {word}: expected NAME=VALUE")
    return name, value


def seeds_of(words: Sequence[str]) -> tuple[int, ...]:
    """Return the seeds that the words of `--seeds` give.

    Raises:
        BenchError: If they are not distinct integers from 0 on.
    """
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) != len(words):
        raise BenchError(
            f"--seeds: expected different integers from 0 on, got {' '.join(words)}; "
            "for example --seeds 0 1 2"
        )
    return tuple(int(word) for word in words)


def device_of(name: str) -> str:
    """Return `cpu` or `cuda` for the value of `--device`.

    Raises:
        BenchError: If the name is unknown or the device is not available.
    """
    import torch

    one_of("device", name, DEVICES)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device cuda: expected a CUDA GPU, got none; use --device cpu")
    return name


def workers_of(wanted: int | None, *, default: int, storage: str | None) -> int:
    """Return the number of concurrent runs on this machine.

    Raises:
        BenchError: If it is negative, or 0 without a storage.
    """
    if wanted is None:
        return default if storage is None else 0
    if wanted < (0 if storage else 1):
        raise BenchError(f"--workers: expected 1 or more (0 with --storage), got {wanted}")
    return wanted


def one_of(what: str, name: str, known: Sequence[str]) -> str:
    """Return `name` if it is known.

    Raises:
        BenchError: If it is not.
    """
    if name not in known:
        raise unknown(what, name, known)
    return name
