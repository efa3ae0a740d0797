"""The commands of `python -m bench` that import PyTorch."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, get_args

from bench import console, flags
from bench.choices import OnExisting
from bench.cost.command import profile
from bench.cost.estimate import estimate
from bench.errors import BenchError
from bench.flags import ARTIFACTS, DEFAULT_PRESET, RESULTS, one_of
from bench.gallery.index import pack_gallery
from bench.gallery.make import GalleryRequest, make_gallery
from bench.report.build import render, stale_files, write
from bench.report.page.page import PAGE
from bench.report.terminal import show_summary
from bench.report.whole import renew, stale
from bench.runs.console import Lines, show_plan
from bench.runs.dials import dial_requests
from bench.runs.plan import Request, plan_runs
from bench.runs.provenance import code_id, command_line
from bench.runs.session import run_study, usable_cores
from bench.runs.site import Session, Site
from bench.runs.store import Store
from bench.stats.compare import compare
from bench.studies.names import known_studies
from bench.studies.preset import load_preset, study_for
from bench.studies.study import load_study, load_with, with_rows
from bench.tasks import task
from bench.tasks.outside import outside_rows
from bench.tasks.splits import forget_redrawn, open_splits
from weakclip.config import MICRO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.report.build import Report
    from bench.runs.queue import Queue
    from bench.studies.study import Study, Variant
    from bench.studies.workbench import Workbench
    from weakclip.training.execution import Precision


logger = logging.getLogger(__name__)


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    preset = flags.preset_of(options)
    rows = _outside(options, preset)
    asked = [_asked(each, rows, options) for each in _studies(options.studies)]
    studies = [whole.study for whole, _ in asked]
    device = flags.device_of(options.device)
    own = any(study.dials is not None for study in studies) and not (options.preset or options.set)
    store = Store(options.out or (RESULTS if own else _default_out(preset)))
    cores = usable_cores() if device == "cpu" else 1
    workers = flags.workers_of(options.workers, default=cores, storage=options.storage)
    storage = flags.storage_of(options)
    session = Session(
        store=store,
        site=_site(options, device, options.precision, rows),
        locks=options.artifacts / "runs.locks",
        storage=storage if options.storage or workers > 1 else None,
        workers=workers,
        command=command_line(words),
        heartbeat=options.heartbeat,
    )
    if options.dry_run:
        return _dry_run([request for _, requests in asked for request in requests], store)
    runs, failed = 0, 0
    reports: list[Report] = []
    tables: list[Path] = []
    for whole, requests in asked:
        for request in requests:
            _, results = run_study(session, request)
            runs += len(results)
            failed += sum(result.status == "failed" for result in results)
            for seed in request.seeds:
                forget_redrawn(request.preset, seed, options.artifacts)
        reports.append(render(whole.study, store))
        tables += write(reports[-1], store)
        show_summary(reports[-1].summary, reports[-1].notes)
    if (store.root / PAGE).exists():  # update the files about all studies
        made = {report.study.name for report in reports}
        others = [render(load_study(name), store) for name in _ran(store) if name not in made]
        tables += renew([*reports, *others], store)
    console.result(_result(studies, runs, failed, tables, preset=preset))
    return 1 if failed else 0


def _dry_run(requests: Sequence[Request], store: Store) -> int:
    todo, done, hours = 0, 0, 0.0
    positions: dict[tuple[str, ...], tuple[int, int]] = {}
    for request in requests:
        plan = plan_runs(request, store)
        todo, done = todo + len(plan.todo), done + len(plan.done)
        if request.study.dials is None:
            show_plan(plan, request.study.name, request.preset)
            found = estimate(load_preset(request.preset), [run.variant.config for run in plan.todo])
            if found.runs:
                console.say(found.line)
                hours += found.hours
        else:
            centre = next(each.preset for each in requests if each.study.dials is not None)
            changes = request.preset.removeprefix(centre)[1:]
            where = (changes[:60] or "none", request.variants[0].name, request.study.name)
            before = positions.get(where, (0, 0))
            positions[where] = before[0] + len(plan.todo), before[1] + len(plan.done)
    if positions:
        headers = ("changes of the preset", "first row", "records", "to run", "done")
        rows = [(*where, str(a), str(b)) for where, (a, b) in positions.items()]
        console.show_rows("Positions of the dials, in this order", headers, rows)
    studies = list({request.study.name: request.study for request in requests}.values())
    console.result(
        _result(studies, 0, 0, [], dry_run=True, to_run=todo, done=done, gpu_hours=round(hours, 3))
    )
    return 0


def _work(options: argparse.Namespace, _: Sequence[str]) -> int:
    from bench.runs.queue import open_queue  # imports Optuna, which other commands do not need
    from bench.runs.worker import Worker

    signal.signal(signal.SIGTERM, _interrupt)
    site = _site(options, flags.device_of(options.device), options.precision)
    with closing(open_queue(flags.storage_of(options), heartbeat=options.heartbeat)) as queue:
        on = _until_idle(queue, site.code, options.idle)
        results = Worker(queue, site, Lines()).work(on=on)
        others = [entry.ticket.code for entry in queue.entries() if entry.state == "waiting"]
    if others:
        console.say(
            f"{len(others)} runs wait for workers with other code ({', '.join(sorted(set(others)))}"
            f"; this checkout: {site.code}): check out the commit that requested them"
        )
    failed = sum(result.status == "failed" for result in results)
    console.result({"runs": len(results), "failed": failed})
    return 1 if failed else 0


def _status(options: argparse.Namespace, _: Sequence[str]) -> int:
    from bench.runs import status
    from bench.runs.queue import check_there, open_queue

    now = time.time()
    check_there(flags.storage_of(options))
    with closing(open_queue(flags.storage_of(options), heartbeat=options.heartbeat)) as queue:
        queue.recover()  # so that runs of killed workers are shown as waiting
        found = status.status_of(queue.entries(), now)
    headers = ("run", "worker", "step", "minutes", "attempt")
    console.show_rows("Running", headers, status.running_rows(found, now))
    for failure in found.failures:
        console.say(f"failed: {failure}")
    console.say(status.summary_line(found))
    console.result({
        "waiting": found.waiting, "running": len(found.running), "done": found.done,
        "failed": len(found.failures), "runs_per_hour": found.runs_per_hour,
        "seconds_left": found.seconds_left,
    })  # fmt: skip
    return 0


def _search(options: argparse.Namespace, _: Sequence[str]) -> int:
    from bench.runs.queue import open_queue
    from bench.search.report import write_search
    from bench.search.sweep import Search, SearchWorkbench, run_search

    preset = flags.preset_of(options)
    if options.trials < 1:
        raise BenchError(f"--trials: expected 1 or more, got {options.trials}")
    bench = _site(options, flags.device_of(options.device)).prepare(preset)
    if not isinstance(bench, SearchWorkbench):
        raise BenchError(f"preset {preset!r}: expected one with a split `tune`, got none")
    search = Search(
        name=preset,
        config=MICRO,
        recipe=load_preset(preset).recipe,
        seeds=flags.seeds_of(options.seeds),
        trials=options.trials,
        by_time_too=options.by_time_too,
    )
    with closing(open_queue(flags.storage_of(options), heartbeat=options.heartbeat)) as queue:
        found = run_search(search, bench, queue.storage, tell=console.say)
    out = options.out or _default_out(preset)
    source = options.source or out / "sweeps" / f"found_{preset}.py"
    files = write_search(found, search, out, source)
    console.show_rows(
        f"Best of {len(found.rows)} trials: mIoU {100 * found.best.values[0]:.2f} % on tune",
        ("parameter", "value"),
        [(name, f"{value:g}") for name, value in sorted(found.best.params.items())],
    )
    console.result({
        "search": preset, "trials": len(found.rows), "miou": found.best.values[0],
        "parameters": found.best.params, "files": [path.as_posix() for path in files],
    })  # fmt: skip
    return 0


def _report(options: argparse.Namespace, _: Sequence[str]) -> int:
    store = Store(options.out)
    studies = _studies(options.studies or _ran(store))
    reports = [render(study, store) for study in studies]
    tables: list[Path] = []
    outdated: list[str] = []
    for report in reports:
        show_summary(report.summary, report.notes)
        if options.check:
            outdated += stale_files(report, store)
        else:
            tables += write(report, store)
    if reports and not options.studies:
        if options.check:
            outdated += stale(reports, store)
        else:
            tables += renew(reports, store)
    for name in outdated:
        console.say(f"stale: {name}; `python -m bench report` writes it again")
    console.result(_result(studies, 0, 0, tables, stale=outdated))
    return 1 if outdated else 0


def _gallery(options: argparse.Namespace, _: Sequence[str]) -> int:
    study = load_study(options.study)
    for name in options.variants:
        study.select((name,))  # raises for an unknown name before any training
    preset = flags.preset_of(options)
    workbench = task.prepare(
        preset, data_root=flags.data_of(options), device=flags.device_of(options.device),
        artifacts=options.artifacts,
    )  # fmt: skip
    if not isinstance(workbench, task.ImageWorkbench):
        raise BenchError(f"gallery: expected a preset of a generated world, got {preset!r}")
    request = GalleryRequest(
        study=study, variants=tuple(dict.fromkeys(options.variants)), seed=options.seed,
        worst=options.worst,
    )  # fmt: skip
    out = options.out or _default_out(preset)
    index = make_gallery(request, workbench, out, report=_say_trained)
    console.result({"study": study.name, "preset": preset, "images": len(index.images)})
    return 0


def _say_trained(name: str, step: int, total: int) -> None:
    if step == total:
        console.say(f"{name}: trained, {total} steps")


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


def _pack(options: argparse.Namespace, _: Sequence[str]) -> int:
    store = Store(options.out)
    names = options.studies or store.studies()
    moved = {name: store.pack_study(one_of("study", name, store.studies())) for name in names}
    pack_gallery(store.root)
    console.result({"packed": moved})
    return 0


def _result(
    studies: Sequence[Study], runs: int, failed: int, tables: Sequence[Path], **more: object
) -> dict[str, object]:
    names, paths = [study.name for study in studies], [path.as_posix() for path in tables]
    return {"study": names, "runs": runs, "failed": failed, "tables": paths, **more}


def _studies(names: Sequence[str]) -> list[Study]:
    chosen = known_studies() if list(names) == ["all"] else names
    return [load_study(name) for name in dict.fromkeys(chosen)]


def _ran(store: Store) -> list[str]:
    """Names of the studies that have records."""
    return [name for name in known_studies() if name in store.studies()]


def _request(study: Study, options: argparse.Namespace, preset: str) -> Request:
    on_existing = one_of("--on-existing", options.on_existing, get_args(OnExisting))
    return Request(
        study=study,
        variants=study.select(tuple(options.variants)),
        seeds=study.seeds if options.seeds is None else flags.seeds_of(options.seeds),
        preset=preset,
        on_existing=next(value for value in get_args(OnExisting) if value == on_existing),
    )


def _asked(
    study: Study, rows: Sequence[Variant], options: argparse.Namespace
) -> tuple[Request, list[Request]]:
    """The request for a study as it is reported, and the requests to run."""
    own = DEFAULT_PRESET if study.dials is None else study.dials.preset
    preset = flags.preset_of(options, own)
    whole = _request(study_for(with_rows(study, rows), preset), options, preset)
    if whole.study.dials is None:
        if options.only_dials:
            raise BenchError(f"--only-dials: study {study.name!r} has no dials")
        return whole, [whole]
    requests, left_out = dial_requests(whole, options.only_dials, options.clip_stages)
    if left_out:
        console.say(
            f"{study.name}: {left_out} runs are left out, because --clip-stages does not have the "
            "weights of their CLIP"
        )
    return whole, requests


def _outside(options: argparse.Namespace, preset: str) -> tuple[Variant, ...]:
    """The rows from outside; all their files are checked before anything is run."""
    given = flags.outside_of(options)
    if not given:
        return ()
    try:
        splits = open_splits(load_preset(preset), flags.data_of(options), options.artifacts)
        return outside_rows(given, splits, options.artifacts)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BenchError(str(error)) from error


def _site(
    options: argparse.Namespace,
    device: str,
    precision: Precision = "float32",
    rows: Sequence[Variant] = (),
) -> Site:
    prepare: Callable[[str], Workbench] = partial(
        task.prepare,
        data_root=flags.data_of(options),
        device=device,
        artifacts=options.artifacts,
        weights=options.weights,
        stages=options.clip_stages,
        precision=precision,
    )
    load = partial(load_with, tuple(rows)) if rows else load_study
    masks = getattr(options, "write_masks", None)
    return Site(prepare=prepare, load=load, device=device, code=code_id(), masks=masks)


def _until_idle(queue: Queue, code: str, seconds: float) -> Callable[[], bool]:
    """A function that tells whether a run was waiting or running within the last `seconds`."""
    last = time.monotonic()

    def on() -> bool:
        nonlocal last
        now = time.monotonic()
        if any(
            entry.state in ("waiting", "running") and entry.ticket.code == code
            for entry in queue.entries()
        ):
            last = now
        return now - last <= seconds

    return on


def _interrupt(*_: object) -> None:
    """Stop as on Ctrl-C: the current run is returned to the queue."""
    raise KeyboardInterrupt


def _default_out(preset: str) -> Path:
    """Default folder of records: only the default preset writes to the committed results."""
    return RESULTS if preset == DEFAULT_PRESET else ARTIFACTS / preset.partition("+")[0]


COMMANDS = {
    "run": _run, "work": _work, "status": _status, "report": _report, "search": _search,
    "gallery": _gallery, "profile": profile, "compare": _compare, "pack": _pack,
}  # fmt: skip
"""Each takes the parsed flags and the words of the command line, and returns the exit code."""
