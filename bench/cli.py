"""`python -m bench list | run | report | compare`.

Flags select and place; what moves a number is configuration. Exit codes: 0 done, 1 a run failed
or a table is stale, 2 bad input. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

import torch

from bench import console, task
from bench.compare import compare
from bench.errors import BenchError, unknown
from bench.plan import OnExisting, Request, plan_runs
from bench.provenance import command_line
from bench.report import render, stale_files, write
from bench.session import Session, run_study, usable_cores
from bench.store import Store
from bench.study import known_studies, load_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.study import Study

DEFAULT_PRESET = "cartoon"
RESULTS = Path("results")
ARTIFACTS = Path("artifacts")
DEVICES = ("auto", "cpu", "cuda")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(words)
        console.log_to_stderr(verbose=getattr(options, "verbose", False))
        command = {"list": _list, "run": _run, "report": _report, "compare": _compare}
        return command[options.command](options, words)
    except BenchError as error:
        console.say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        console.say("interrupted; finished runs are kept, the same command goes on from there")
        return 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BenchError(f"{message}; `{self.prog} --help` lists what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="studies and how many of their runs are done")
    run = commands.add_parser("run", help="run studies and write their tables and figures")
    report = commands.add_parser("report", help="rebuild tables and figures from the records")
    comparing = commands.add_parser("compare", help="difference of two rows with its interval")
    _add_run_flags(run)
    report.add_argument("studies", nargs="*", metavar="STUDY", help="default: all with records")
    report.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=False,
        help="write nothing; exit 1 if a table or figure is not what the records say",
    )  # fmt: skip
    comparing.add_argument("first", metavar="STUDY/VARIANT")
    comparing.add_argument("second", metavar="STUDY/VARIANT")
    for command in (listing, report, comparing):
        command.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    return parser


def _add_run_flags(run: argparse.ArgumentParser) -> None:
    add = run.add_argument
    add("studies", nargs="+", metavar="STUDY", help="names as `list` shows them, or `all`")
    add("--preset", default=DEFAULT_PRESET, help=f"one of: {', '.join(task.PRESETS)}")
    add("--data-root", type=Path, help="data set on disk; default: made by the preset")
    add("--out", type=Path, help="records and tables; default: results, or artifacts/<preset> "
        "for a preset other than the default")  # fmt: skip
    add("--artifacts", type=Path, default=ARTIFACTS, help="folder for what can be made again")
    add("--device", default="auto", help=f"one of: {', '.join(DEVICES)}")
    add("--seeds", nargs="+", metavar="N", help="default: those of the study")
    add("--variants", nargs="+", metavar="NAME", default=[], help="default: all of the study")
    add("--on-existing", default="missing", metavar="|".join(get_args(OnExisting)),
        help="missing: run again what failed, is broken or was made otherwise; "
        "keep: leave every file; replace: run everything")  # fmt: skip
    add("--workers", type=int, help="runs at a time; default: CPU cores, 1 on cuda")
    add("--dry-run", action=argparse.BooleanOptionalAction, default=False,
        help="show what would be run; protocol, data and weights are not compared")  # fmt: skip
    add("--verbose", action=argparse.BooleanOptionalAction, default=False,
        help="tracebacks of failed runs")  # fmt: skip


def _list(options: argparse.Namespace, _: Sequence[str]) -> int:
    store = Store(options.out)
    rows, listed = [], []
    for study in map(load_study, known_studies()):
        total = len(study.rows) * len(study.seeds)
        records = store.read_all(study.name, [row.name for row in study.rows], study.seeds)
        done = sum(record.status == "ok" for record in records)
        rows.append((study.name, study.question, str(len(study.rows)), f"{done}/{total}"))
        listed.append({"study": study.name, "runs": total, "done": done})
    console.show_rows("Studies", ("study", "question", "variants", "runs done"), rows)
    console.result({"studies": listed})
    return 0


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    studies = _studies(options.studies)
    preset = _one_of("preset", options.preset, task.PRESETS)
    device = _device(options.device)
    store = Store(options.out or _default_out(preset))
    requests = [_request(study, options, preset) for study in studies]
    if options.dry_run:
        return _dry_run(requests, store)
    session = Session(
        store=store,
        prepare=partial(
            task.prepare,
            preset,
            data_root=options.data_root,
            device=device,
            artifacts=options.artifacts,
        ),
        device=device,
        workers=_workers(options.workers, device),
        command=command_line(words),
    )
    runs, failed, tables = 0, 0, []
    for request in requests:
        _, results = run_study(session, request)
        runs += len(results)
        failed += sum(result.status == "failed" for result in results)
        report = render(request.study, store)
        tables += [path.as_posix() for path in write(report, store)]
        console.show_summary(report.summary, report.notes)
    console.result(_result(studies, runs, failed, tables, preset=preset))
    return 1 if failed else 0


def _dry_run(requests: Sequence[Request], store: Store) -> int:
    todo = done = 0
    for request in requests:
        plan = plan_runs(request, store)
        console.show_plan(plan, request.study.name, request.preset)
        todo, done = todo + len(plan.todo), done + len(plan.done)
    studies = [request.study for request in requests]
    console.result(_result(studies, 0, 0, [], dry_run=True, to_run=todo, done=done))
    return 0


def _report(options: argparse.Namespace, _: Sequence[str]) -> int:
    store = Store(options.out)
    names = options.studies or [
        name for name in known_studies() if (store.root / "runs" / name).is_dir()
    ]
    tables, stale, studies = [], [], _studies(names)
    for study in studies:
        report = render(study, store)
        console.show_summary(report.summary, report.notes)
        if options.check:
            stale += stale_files(report, store)
        else:
            tables += [path.as_posix() for path in write(report, store)]
    for name in stale:
        console.say(f"stale: {name}; `python -m bench report` writes it again")
    console.result(_result(studies, 0, 0, tables, stale=stale))
    return 1 if stale else 0


def _compare(options: argparse.Namespace, _: Sequence[str]) -> int:
    found = compare(Store(options.out), options.first, options.second)
    rows, values = [], {}
    for name, value in found.items():
        points = [f"{100 * part:+.2f}" for part in (value.estimate, value.low, value.high)]
        size = f"{value.seeds} × {value.images}"
        rows.append((name, points[0], f"{points[1]} to {points[2]}", f"{value.p_value:.3g}", size))
        values[name] = {
            "difference": value.estimate, "low": value.low, "high": value.high,
            "p_value": value.p_value, "seeds": value.seeds, "images": value.images,
        }  # fmt: skip
    headers = ("task", "Δ mIoU, points", "95 % interval", "p", "seeds × images")
    console.show_rows(f"{options.first} minus {options.second}", headers, rows)
    console.result({"first": options.first, "second": options.second, "tasks": values})
    return 0


def _result(
    studies: Sequence[Study], runs: int, failed: int, tables: Sequence[str], **more: object
) -> dict[str, object]:
    names = [study.name for study in studies]
    return {"study": names, "runs": runs, "failed": failed, "tables": list(tables), **more}


def _studies(names: Sequence[str]) -> list[Study]:
    chosen = known_studies() if list(names) == ["all"] else names
    return [load_study(name) for name in dict.fromkeys(chosen)]


def _request(study: Study, options: argparse.Namespace, preset: str) -> Request:
    on_existing = _one_of("--on-existing", options.on_existing, get_args(OnExisting))
    return Request(
        study=study,
        variants=study.select(tuple(options.variants)),
        seeds=study.seeds if options.seeds is None else _seeds(options.seeds),
        preset=preset,
        on_existing=next(value for value in get_args(OnExisting) if value == on_existing),
    )


def _seeds(words: Sequence[str]) -> tuple[int, ...]:
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) != len(words):
        raise BenchError(
            f"--seeds: expected different integers from 0 on, got {' '.join(words)}; "
            "for example --seeds 0 1 2"
        )
    return tuple(int(word) for word in words)


def _device(name: str) -> str:
    _one_of("device", name, DEVICES)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device cuda: expected a CUDA GPU, got none; use --device cpu")
    return name


def _workers(wanted: int | None, device: str) -> int:
    if wanted is not None and wanted < 1:
        raise BenchError(f"--workers: expected 1 or more, got {wanted}")
    return wanted or (usable_cores() if device == "cpu" else 1)


def _default_out(preset: str) -> Path:
    """Only the default preset writes into the committed results."""
    return RESULTS if preset == DEFAULT_PRESET else ARTIFACTS / preset


def _one_of(what: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise unknown(what, name, known)
    return name
