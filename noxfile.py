"""Nox sessions: `nox` runs all checks; studies, pretraining and benchmarks run on request.

A session installs, then calls one command; the logic is in `bench`. Positional arguments are passed
on: `nox -s ablate -- components --preset smoke`.
"""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
DEFAULT_STUDY = "components"


def install(session: nox.Session, *groups: str) -> None:
    """Install the library and dependency groups of pyproject.toml."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, *groups))


def with_default(session: nox.Session, *default: str) -> list[str]:
    """Return the positional arguments, after `default` unless they start with a name."""
    words = list(session.posargs)
    return words if words and not words[0].startswith("-") else [*default, *words]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, including those of the tests and of this file."""
    install(session, "typing", "test", "suite", "trackers")
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, one process per core (at most 8), without network and data sets."""
    install(session, "test", "suite", "trackers")
    processes = str(min(os.cpu_count() or 1, 8))
    session.run(
        "python", "-m", "pytest", "-n", processes, "--dist", "loadfile", *session.posargs,
        env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@nox.session(default=False, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest releases that pyproject.toml allows.

    Their own dependencies are the newest releases and warn about them, so warnings are not errors.
    `-- tests/weakclip/data` runs a part of the tests.
    """
    oldest = ["--resolution", "lowest-direct"]
    project = PROJECT["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["fast"]]
    groups = nox.project.dependency_groups(PROJECT, "test", "suite", "trackers")
    torch = next(one for one in bounds if one.startswith("torch>=")).replace(">=", "==")
    session.install(*oldest, *bounds, *groups, torch)  # the newest torchvision needs another torch
    session.install("--no-deps", "-e", ".")
    quiet = ["-o", "filterwarnings=default"]
    session.run("python", "-m", "pytest", *quiet, *session.posargs)


@nox.session(default=False)
def latest(session: nox.Session) -> None:
    """Run the tests with the newest releases of all dependencies."""
    groups = nox.project.dependency_groups(PROJECT, "test", "suite", "trackers")
    session.install("--upgrade", "-e", ".", *groups)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Read damaged files with every reader for a minute; `-- --seconds 600` changes the time."""
    install(session, "test", "suite")
    session.run("python", "-m", "tests.fuzz.sweep", *session.posargs)


@nox.session(default=False)
def ablate(session: nox.Session) -> None:
    """Run studies, and update their tables, figures, page and README.

    The default is the component study on the embedded data set.

    Records in the checkout were made by someone else, so these runs are carried out again.
    """
    install(session, "suite")
    words = ["--on-existing", "renew", *with_default(session, DEFAULT_STUDY)]
    session.run("python", "-m", "bench", "run", *words)


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Rebuild tables, figures, page and README from the records; `-- --check` only compares."""
    install(session, "suite")
    session.run("python", "-m", "bench", "report", *session.posargs)


@nox.session(default=False)
def search(session: nox.Session) -> None:
    """Search hyper-parameters on the split `tune`, which no table reports."""
    install(session, "suite")
    session.run("python", "-m", "bench", "search", *session.posargs)


@nox.session(default=False)
def pretrain(session: nox.Session) -> None:
    """Train micro-CLIP on images and captions of CartoonVOC's generator."""
    install(session, "suite")
    session.run("python", "-m", "bench.cartoon.pretraining.clip", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the cost of all networks (`results/tables/profile.*`), then run tests/perf.

    With arguments only the speed tests in tests/perf are run: `-- --save` stores the run,
    `-- --compare` fails if it is 15 % slower than the last one stored on this machine; other
    arguments are passed to pytest.
    """
    install(session, "test", "suite")
    if not session.posargs:
        session.run("python", "-m", "bench", "profile")
    session.run("python", "-m", "bench.speed.stored", *session.posargs)


@nox.session(default=False)
def profile(session: nox.Session) -> None:
    """Measure the cost of all networks; flags: `-- --quick`, `-- --scaling`, `-- --no-compiled`."""
    install(session, "suite")
    session.run("python", "-m", "bench", "profile", *session.posargs)


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the checks and measurements on a CUDA device in eight minutes; skipped without one."""
    install(session, "test", "suite")
    session.run("python", "-m", "bench.speed.gpu", *session.posargs)


@nox.session(default=False)
def gallery(session: nox.Session) -> None:
    """Train a few rows, and keep pictures of their masks for the report."""
    install(session, "suite")
    session.run("python", "-m", "bench", "gallery", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site; warnings are errors."""
    install(session, "docs")
    session.run("zensical", "build", "--strict", "-f", "mkdocs.yml", *session.posargs)
