"""What the commands say of a folder of cases: `python tests/wild.py CASES [--only m c] > now.md`.

A case is a folder whose name begins with the letter of its command:

    c, i    weakclip check CASE/img --tags CASE/labels.csv (a name with `folder`: of sub-folders)
    m       the same with --masks CASE/masks --classes CASE/classes.txt
    j       weakclip data coco --annotations CASE/instances_train2014.json --images CASE/img
    f       weakclip crf --images CASE/img --probs CASE/probs

Printed is a Markdown section a case, with the command, its exit code and all that it said.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from weakclip.cli.main import main as weakclip


def command_of(case: Path, out: Path) -> list[str]:
    """The arguments of `weakclip` for a case."""
    images = str(case / "img")
    check = ["check", images]
    if "folder" not in case.name or case.name[0] not in "ci":
        check += ["--tags", str(case / "labels.csv")]
    match case.name[0]:
        case "c" | "i":
            return check
        case "m":
            return [*check, "--masks", str(case / "masks"), "--classes", str(case / "classes.txt")]
        case "j":
            annotations = str(case / "instances_train2014.json")
            places = ["--annotations", annotations, "--images", images, "--out", str(out)]
            return ["data", "coco", *places, "--counts", "any"]
        case "f":
            return ["crf", "--images", images, "--probs", str(case / "probs"), "--out", str(out)]
        case other:
            raise ValueError(
                f"{case}: expected a name that begins with c, f, i, j or m, got {other}"
            )


def section(case: Path) -> str:
    """What the command says of a case, as Markdown."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        arguments = command_of(case, out)
        with redirect_stdout(said), redirect_stderr(said):
            try:
                code: object = weakclip(arguments)
            except Exception:
                traceback.print_exc()
                code = "none"
        written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    files = f"\nwritten: {', '.join(written)}\n" if written else ""
    text = (
        f"## {case.name}\n`weakclip {' '.join(arguments)}`: exit {code}\n"
        f"```\n{said.getvalue().rstrip()}\n```\n{files}"
    )
    return text.replace(str(case.parent), "CASES").replace(folder, "OUT")


def main() -> None:
    """Print a section for every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--only", nargs="*", default=list("cimjf"), help="first letters")
    args = parser.parse_args()
    for case in sorted(args.cases.iterdir()):
        if case.is_dir() and case.name[0] in args.only:
            sys.stdout.write(section(case.resolve()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
