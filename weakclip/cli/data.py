"""`weakclip data voc|coco`: class masks and lists from the official files of a data set."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from weakclip.cli.console import progress, write_some
from weakclip.data.build import coco as build_coco
from weakclip.data.build import voc as build_voc
from weakclip.data.build.archive import verify
from weakclip.data.build.job import build_masks, check_lists, claim, differing_lists, write_lists
from weakclip.printable import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from weakclip.data.build.archive import Archive, Member
    from weakclip.data.build.job import Built, ListRecord, MaskJob
    from weakclip.data.read.tagged import BadImage

SHOWN = 20
"""Most lines of one kind on stderr; the JSON object contains all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to build from a data set."""

    settings: dict[str, str]
    masks: str
    """Sub-folder of the masks."""
    jobs: Sequence[MaskJob]
    lists: Mapping[str, Sequence[str]]
    missing: tuple[str, ...]
    """Differences from the published data set."""
    extras: Callable[[Path], None]
    """Writes the other files of the data set."""
    archives: Sequence[Archive]
    """The published archives of the data set."""
    members: Sequence[Member]
    """Files on disk that determine the lists, as members of their archives."""
    problems: Sequence[BadImage] = ()
    """What is left out of masks and lists, or makes them doubtful."""
    notes: Sequence[str] = ()
    """How unusual entries were interpreted."""


def run(args: argparse.Namespace) -> int:
    """Build; returns 0 if all succeeded, 1 if files are missing or fail, 2 for usage errors."""
    renew = args.on_existing == "replace"
    try:
        plan = _voc(args) if args.set == "voc" else _coco(args)
        differing = _differing(args, plan)
        if differing or (args.counts == "official" and plan.missing):
            return _report(replace(plan, missing=(*differing, *plan.missing)), None, {})
        if args.out.exists() and not args.out.is_dir():
            raise ValueError(
                f"--out {args.out}: expected a folder, got a file; choose another name"
            )
        check_lists(args.out, plan.lists, replace=renew)
        claim(args.out, plan.settings, replace=renew)
    except (FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"weakclip data {args.set}: {one_line(str(error))}\n")
        return 2
    except OSError as error:
        _stopped(args, error)
        return 2
    return _build(args, plan, replace=renew)


def _differing(args: argparse.Namespace, plan: _Plan) -> tuple[str, ...]:
    """Differences of the data set from the manifest or the archives, one line each."""
    lines = differing_lists(args.manifest, plan.lists) if args.manifest else ()
    if args.archives is None:
        return lines
    with progress("archives") as report:
        verified = verify(args.archives, plan.archives, plan.members, report=report)
    for name in verified.whole:
        sys.stderr.write(f"{name}: as published\n")
    for name in verified.unseen:
        sys.stderr.write(f"{name}: not in {args.archives}, not verified\n")
    return (*lines, *verified.differing)


def _build(args: argparse.Namespace, plan: _Plan, *, replace: bool) -> int:
    lists: dict[str, ListRecord] = {}
    try:
        with progress("masks") as report:
            folder = args.out / plan.masks
            built = build_masks(plan.jobs, folder, replace=replace, report=report)
        if not built.failed:
            plan.extras(args.out)
            lists = write_lists(args.out, plan.lists)
    except OSError as error:
        _stopped(args, error)
        return 1
    except ValueError as error:  # a damaged annotation
        sys.stderr.write(f"weakclip data {args.set}: {one_line(str(error))}\n")
        return 1
    return _report(plan, built, lists)


def _voc(args: argparse.Namespace) -> _Plan:
    sources = build_voc.read_sources(args.voc, args.sbd)
    return _Plan(
        settings={"data": "voc2012+sbd"},
        masks=build_voc.MASKS,
        jobs=build_voc.mask_jobs(sources),
        lists=sources.lists,
        missing=build_voc.missing_pieces(sources),
        extras=partial(build_voc.prepare, sources=sources),
        archives=build_voc.ARCHIVES,
        members=build_voc.archive_members(sources),
        notes=build_voc.untagged(sources),
    )


def _coco(args: argparse.Namespace) -> _Plan:
    with progress("images") as report:
        sources = build_coco.read_sources(args.annotations, args.images, report=report)
    instances = sources.instances
    return _Plan(
        settings={"data": "coco", "ids": args.ids, "crowd": args.crowd},
        masks=build_coco.MASKS,
        jobs=build_coco.mask_jobs(sources, args.ids, args.crowd),
        lists=sources.lists,
        missing=build_coco.missing_pieces(sources),
        extras=partial(build_coco.write_tags, sources=sources, numbering=args.ids),
        archives=sources.archives,
        members=build_coco.archive_members(sources),
        problems=(*instances.problems, *build_coco.doubts(sources, args.crowd)),
        notes=(*instances.notes, *build_coco.twins(instances)),
    )


def _stopped(args: argparse.Namespace, error: OSError) -> None:
    """Report why nothing more can be written."""
    sys.stderr.write(
        f"weakclip data {args.set}: cannot write to {args.out} ({error}); make room or choose "
        "another --out. What is there is whole: the same command goes on from it\n"
    )


def _report(plan: _Plan, built: Built | None, lists: Mapping[str, ListRecord]) -> int:
    """Write lines to stderr and one JSON object to stdout; the exit status."""
    failed = built.failed if built else ()
    problems = [str(one) for one in plan.problems]
    for lines in (plan.missing, plan.notes, problems, [str(one) for one in failed]):
        write_some(lines, SHOWN, "more like these")
    if built is None:
        sys.stderr.write(
            "nothing was built; complete it, or build what there is: --counts any, "
            "without --manifest and --archives\n"
        )
    elif failed:
        sys.stderr.write("the lists are not written before every mask is there\n")
    if problems:
        sys.stderr.write(f"problems: {len(problems)}; masks and lists are of what is good\n")
    content = {
        "written": built.written if built else 0,
        "kept": built.kept if built else 0,
        "failed": len(failed),
        "missing": list(plan.missing),
        "problems": problems,
        "notes": list(plan.notes),
        "lists": dict(lists),
    }
    sys.stdout.write(json.dumps(content) + "\n")
    return 1 if built is None or failed or problems else 0
