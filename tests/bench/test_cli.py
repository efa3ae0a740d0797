"""The command line end to end, on a workbench without images."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from bench.cli import main
from bench.runs import provenance
from bench.runs.queue import open_queue
from bench.runs.store import Likeness, Store
from bench.runs.ticket import Ticket
from bench.tasks import task
from tests.bench import fake

RECORD = Path("results/runs/fake/no-adapter/seed0.json")


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(value, dict)
    return value


def run(*words: str) -> int:
    return main(["run", "fake", "--workers", "1", *words])


def fail_with(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(task, "prepare", partial(fake.prepare, fail=how))


@pytest.mark.usefixtures("checkout")
def test_run_writes_records_tables_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out = last_line(capsys)
    assert (out["study"], out["runs"], out["failed"]) == (["fake"], 10, 0)
    assert isinstance(out["tables"], list)
    assert all(Path(name).is_file() for name in out["tables"])
    assert {Path(name).suffix for name in out["tables"]} == {".csv", ".md", ".tex", ".svg", ".png"}
    assert len(list(Path("results/runs/fake").glob("*/seed*.json"))) == 10
    assert not list(Path("results").rglob("*.tmp"))


@pytest.mark.usefixtures("checkout")
def test_run_makes_no_page_but_renews_one_that_is_there() -> None:
    page = Path("results/report.html")
    run()
    assert not page.exists()
    main(["report"])
    fresh = page.read_bytes()
    page.write_text("of older records")
    assert main(["report", "--check"]) == 1
    run("--on-existing", "keep")
    assert page.read_bytes() == fresh
    assert main(["report", "--check"]) == 0


@pytest.mark.usefixtures("checkout")
def test_a_second_run_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    before = RECORD.read_bytes()
    assert run() == 0
    assert last_line(capsys)["runs"] == 0
    assert RECORD.read_bytes() == before


@pytest.mark.usefixtures("checkout")
def test_the_precision_reaches_the_workbench(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def prepare(preset: str, *, precision: str, **rest: object) -> fake.FakeWorkbench:
        seen.append(precision)
        return fake.prepare(preset, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(task, "prepare", prepare)
    assert run("--seeds", "0") == 0
    assert set(seen) == {"float32"}
    seen.clear()
    assert run("--seeds", "0", "--precision", "bfloat16") == 0
    assert set(seen) == {"bfloat16"}


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    "damage",
    [
        lambda: RECORD.with_suffix(".npz").unlink(),
        lambda: RECORD.with_suffix(".npz").write_bytes(b"half"),
        lambda: RECORD.write_text(RECORD.read_text()[:200]),
        lambda: RECORD.write_text(RECORD.read_text().replace('"seed": 0', '"seed": 7')),
        lambda: RECORD.unlink(),
    ],
    ids=["no-counts", "half-counts", "truncated", "another-run", "no-record"],
)
def test_a_broken_record_is_never_trusted_and_runs_again(
    damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    assert callable(damage)
    missing = damage() is None and not RECORD.exists()
    if not missing:
        assert main(["report"]) == 2
        assert "--on-existing missing` runs it again" in capsys.readouterr().err
        assert run("--on-existing", "keep") == 2
    assert run() == 0
    assert last_line(capsys)["runs"] == 1
    assert main(["report", "--check"]) == 0


@pytest.mark.usefixtures("checkout")
def test_a_run_that_raises_is_recorded_and_the_study_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, "raise")
    assert run() == 1
    assert last_line(capsys)["failed"] == 1
    record = json.loads(RECORD.read_text())
    assert record["status"] == "failed"
    assert record["error"] == "RuntimeError: no such file: PATH"
    table = Path("results/tables/fake.md").read_text()
    assert "Failed: no-adapter seed 0: RuntimeError" in table
    assert "1 (1 failed)" in table
    monkeypatch.setattr(task, "prepare", fake.prepare)
    assert run("--on-existing", "keep") == 0
    assert last_line(capsys)["runs"] == 0
    assert run() == 0
    assert last_line(capsys)["runs"] == 1


@pytest.mark.usefixtures("checkout")
def test_an_interrupt_keeps_whole_runs_only_and_the_next_call_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, "interrupt")
    assert run() == 1
    assert "the same command goes on" in capsys.readouterr().err
    assert [path.parent.name for path in Path("results/runs").rglob("*.json")] == ["full"]
    monkeypatch.setattr(task, "prepare", fake.prepare)
    assert run() == 0
    assert last_line(capsys)["runs"] == 9


@pytest.mark.usefixtures("checkout")
def test_replace_runs_everything_and_gives_the_same_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run()
    before = json.loads(RECORD.read_text())
    assert run("--on-existing", "replace") == 0
    assert last_line(capsys)["runs"] == 10
    after = json.loads(RECORD.read_text())
    assert {k: v for k, v in before.items() if k != "provenance"} == {
        k: v for k, v in after.items() if k != "provenance"
    }


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("packed", [False, True])
def test_records_that_came_with_the_checkout_are_renewed_once(
    capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    run()
    if packed:
        assert main(["pack"]) == 0
        assert last_line(capsys)["packed"] == {"fake": 10}
        assert not RECORD.parent.exists()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "results"], ["commit", "-qm", "results"]):
        subprocess.run([*git, *words], check=True)
    shutil.rmtree(Path("artifacts"), ignore_errors=True)  # a fresh clone has no queue
    time.sleep(1.1)  # records tell the second of their start
    assert run() == 0
    assert last_line(capsys)["runs"] == 0
    assert run("--on-existing", "renew", "--seeds", "0") == 0
    printed = capsys.readouterr()
    assert "fake: 5 runs came with the checkout; they run again here" in printed.err
    assert json.loads(printed.out.splitlines()[-1])["runs"] == 5
    assert run("--on-existing", "renew") == 0
    assert last_line(capsys)["runs"] == 5  # the other seed; what this checkout ran stays
    if packed:
        assert main(["pack", "fake"]) == 0
        assert last_line(capsys)["packed"] == {"fake": 10}
        assert run("--on-existing", "renew") == 0
        assert last_line(capsys)["runs"] == 0
        assert main(["report", "--check"]) == 0


@pytest.mark.usefixtures("checkout")
def test_a_run_under_another_protocol_is_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--variants", "full", "--seeds", "0")
    monkeypatch.setattr(task, "prepare", lambda *_, **__: fake.FakeWorkbench(version=2))
    assert run("--variants", "full", "--seeds", "0", "1") == 0
    captured = capsys.readouterr()
    assert "full seed0: was made under conditions" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["runs"] == 2


@pytest.mark.usefixtures("checkout")
def test_images_of_the_same_names_with_another_content_are_another_data_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on(content: str | None) -> None:
        monkeypatch.setattr(task, "prepare", lambda *_, **__: fake.FakeWorkbench(content=content))

    one = ("--variants", "full", "--seeds")
    on(None)
    assert run(*one, "0") == 0
    on("a" * 64)
    capsys.readouterr()
    assert run(*one, "0", "1") == 0
    assert last_line(capsys)["runs"] == 1  # the older record does not say what it saw
    on("b" * 64)
    shutil.copytree("results", "older")
    assert run(*one, "0", "1") == 0
    captured = capsys.readouterr()
    assert "full seed1: was made under conditions" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["runs"] == 1
    assert run(*one, "2") == 0
    for suffix in (".json", ".npz"):  # one record of a, one of b, by hand
        shutil.copy(f"older/runs/fake/full/seed1{suffix}", "results/runs/fake/full/")
    assert main(["report", "fake"]) == 2
    assert "runs of one table share protocol, data and weights" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
def test_records_of_other_code_count_as_done_and_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--seeds", "0")
    assert "other commits" not in capsys.readouterr().err
    monkeypatch.setattr(provenance, "checkout_state", lambda: ("another", False))
    assert run("--seeds", "0") == 0
    captured = capsys.readouterr()
    assert "5 records were made by the code of other commits and count as done" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["runs"] == 0


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("place", "way_out", "words"),
    [
        ("results", "goes on from there", []),
        ("artifacts", "goes on from there", []),
        ("artifacts", "choose another path", ["--storage", "artifacts/queue.journal"]),
    ],
)
def test_a_place_that_cannot_be_written_to_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    way_out: str,
    words: list[str],
) -> None:
    Path(place).symlink_to("nowhere/at/all")  # as a folder on a disk that is gone
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert "error: " in error
    assert way_out in error
    assert "Traceback" not in error
    Path(place).unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert run() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(Path.cwd().rglob("*.tmp"))


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("flag", ["--storage", "--artifacts"])
def test_status_of_a_mistyped_path_makes_nothing(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    places = ["artefacts/queue.journal", "sqlite:///artefacts/queue.db"]
    for place in places if flag == "--storage" else ["artefacts"]:
        assert main(["status", flag, place]) == 2
        assert "--storage: no queue artefacts/queue" in capsys.readouterr().err
    assert not Path("artefacts").exists()


@pytest.mark.usefixtures("checkout")
def test_dry_run_shows_the_plan_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run", "--variants", "shallow", "full", "--seeds", "0", "5") == 0
    captured = capsys.readouterr()
    out = json.loads(captured.out.splitlines()[-1])
    assert (out["dry_run"], out["to_run"], out["done"]) == (True, 4, 0)
    assert "shallow" in captured.out
    assert not Path("results").exists()


@pytest.mark.usefixtures("checkout")
def test_smoke_stays_out_of_the_results_and_is_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--preset", "smoke") == 0
    assert not Path("results").exists()
    assert "smoke (random weights, no claim)" in capsys.readouterr().out
    assert "smoke (random weights" in Path("artifacts/smoke/tables/fake.md").read_text()
    assert run() == 0
    assert run("--preset", "smoke", "--out", "results") == 2
    assert "a smoke run would replace" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
def test_report_check_fails_on_a_stale_table_or_figure(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert main(["report", "--check"]) == 0
    table, figure = Path("results/tables/fake.tex"), Path("results/figures/fake.svg")
    before = table.read_bytes(), figure.read_bytes()
    table.write_bytes(before[0] + b"%")
    figure.unlink()
    assert main(["report", "fake", "--check"]) == 1
    assert last_line(capsys)["stale"] == ["tables/fake.tex", "figures/fake.svg"]
    assert main(["report"]) == 0
    assert (table.read_bytes(), figure.read_bytes()) == before


def test_commands_without_a_queue_do_not_import_optuna() -> None:
    code = "import sys, bench.commands; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=fake.__file__.rpartition("/tests/")[0],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "torch" in found.stdout.split()
    assert not {"optuna", "sqlalchemy", "alembic"} & set(found.stdout.split())


@pytest.mark.usefixtures("checkout")
def test_list_counts_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    run("--seeds", "1")
    assert main(["list"]) == 0
    assert last_line(capsys)["studies"] == [{"study": "fake", "records": 5, "out": "results"}]


@pytest.mark.usefixtures("checkout")
def test_compare_prints_a_difference_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert main(["compare", "fake/full", "fake/baseline"]) == 0
    tasks = last_line(capsys)["tasks"]
    assert isinstance(tasks, dict)
    value = tasks["pseudo-mask-train"]
    assert value["low"] < value["difference"] < value["high"]
    assert value["difference"] > 0.2
    assert main(["compare", "fake/full", "fake/basline"]) == 2
    assert "did you mean 'fake/baseline'?" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "fak"], "unknown study 'fak'; did you mean 'fake'? Known: fake"),
        (["run", "fake", "--preset", "carton"], "unknown preset 'carton'; did you mean 'cartoon'?"),
        (["run", "fake", "--variants", "shalow"], "did you mean 'shallow'?"),
        (
            ["run", "fake", "--device", "tpu"],
            "did you mean 'cpu'? Known: auto, cpu, cuda",
        ),
        (["run", "fake", "--seeds", "0", "0"], "expected different integers from 0 on, got 0 0"),
        (["run", "fake", "--seeds", "x"], "expected different integers from 0 on, got x"),
        (["run", "fake", "--on-existing", "mising"], "did you mean 'missing'?"),
        (["run", "fake", "--workers", "0"], "expected 1 or more (0 with --storage), got 0"),
        (["run", "fake", "--data-root", "here"], "expected VOC layout, got here"),
        (["status", "--heartbeat", "0"], "--heartbeat: expected 1 second or more, got 0"),
        (["search", "--trials", "0"], "--trials: expected 1 or more, got 0"),
        (["run", "fake", "--fast"], "unrecognized arguments: --fast"),
        (["run"], "the following arguments are required: STUDY"),
        (["fly"], "invalid choice: 'fly'"),
        (["report", "fake"], "expected run records, got none; `python -m bench run fake`"),
        (["compare", "fake/a", "fake/b"], "unknown row (study/variant) 'fake/a'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.usefixtures("checkout")
def test_cuda_without_a_gpu_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("--device", "cuda") == 2
    assert "expected a CUDA GPU, got none; use --device cpu" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
def test_work_does_what_waits_and_status_tells(capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--storage", "shared/queue.journal"]
    assert run(*here, "--seeds", "0") == 0
    with closing(open_queue(here[1])) as queue:
        (first, *_) = queue.entries()
        queue.enqueue(first.ticket, after=first.number)
        queue.enqueue(replace(first.ticket, seed=7))
        queue.enqueue(replace(first.ticket, seed=8, code="other"))
    capsys.readouterr()
    assert main(["status", *here]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["waiting"] == 3
    assert "3 waiting, 0 running, 4 done, 0 failed" in captured.err
    assert main(["work", *here, "--idle", "0"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1]) == {"runs": 2, "failed": 0}
    assert "1 runs wait for workers with other code (other; this checkout: code)" in captured.err


@pytest.mark.usefixtures("checkout")
def test_what_others_did_is_collected_without_working(capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--storage", "shared/queue.journal"]
    assert run(*here) == 0
    before = Path("results/tables/fake.md").read_bytes()
    shutil.rmtree("results")
    assert main(["run", "fake", *here]) == 0  # --workers 0 is the default with --storage
    assert last_line(capsys)["runs"] == 10
    assert Path("results/tables/fake.md").read_bytes() == before


@pytest.mark.usefixtures("checkout")
def test_a_preset_without_tune_cannot_be_searched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search"]) == 2
    assert "expected one with a split `tune`, got none" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
def test_a_run_of_another_study_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    store = Store(Path("results"))
    ours = store.read("fake", "no-adapter", 0)
    assert ours is not None
    store.write(replace(ours, study="other", variant="under-another-name"), store.counts(ours))
    shutil.rmtree(Path("results/runs/fake/no-adapter"))
    shutil.rmtree(Path("artifacts"), ignore_errors=True)
    capsys.readouterr()
    assert run() == 0
    printed = capsys.readouterr()
    assert "fake: 1 runs are those of other studies; copied" in printed.err
    assert json.loads(printed.out.splitlines()[-1])["runs"] == 1  # the other seed
    assert store.read("fake", "no-adapter", 0) == ours
    assert run("--on-existing", "replace") == 0
    assert last_line(capsys)["runs"] == 10


@pytest.mark.usefixtures("checkout")
def test_a_run_with_another_seed_or_config_is_no_run_of_another_study() -> None:
    run()
    store = Store(Path("results"))
    ours = store.read("fake", "no-adapter", 0)
    assert ours is not None
    like = Likeness(ours.preset, ours.config_id, ours.conditions)
    assert store.copy_equal(("new", "x", 0), like) is not None
    assert store.copy_equal(("new", "x", 7), like) is None
    content = replace(like, conditions=replace(like.conditions, content="of other files"))
    assert store.copy_equal(("new", "z", 0), content) is not None  # the record does not say
    for other in (
        replace(like, preset="another"),
        replace(like, config_id="another"),
        replace(like, conditions=replace(like.conditions, id="another")),
    ):
        assert store.copy_equal(("new", "y", 0), other) is None
    assert store.read("new", "y", 0) is None


@pytest.mark.usefixtures("checkout")
def test_status_takes_the_run_of_a_killed_worker_for_waiting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    journal = "artifacts/queue.journal"
    with closing(open_queue(journal)) as queue:
        queue.enqueue(
            Ticket(
                study="fake", variant="full", seed=0, preset="cartoon", config_id="c",
                conditions="d", code="code", command="run",
            )
        )  # fmt: skip
    child = os.fork()
    if not child:
        claim = open_queue(journal).take("code")
        os.kill(os.getpid(), signal.SIGKILL if claim else signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert main(["status"]) == 0
    found = last_line(capsys)
    assert (found["running"], found["waiting"]) == (0, 1)


@pytest.mark.usefixtures("checkout")
def test_list_shows_the_records_of_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert run("--preset", "voc", "--seeds", "0", "--variants", "full") == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert last_line(capsys)["studies"] == [
        {"study": "fake", "records": 10, "out": "results"},
        {"study": "fake", "records": 1, "out": "artifacts/voc"},
    ]
    assert main(["list", "--out", "artifacts/voc"]) == 0
    assert last_line(capsys)["studies"] == [{"study": "fake", "records": 1, "out": "artifacts/voc"}]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_of_the_command_alone_ends_it_and_its_workers(
    tmp_path: Path, workers: str
) -> None:
    """Started as a shell starts it with `&`: SIGINT is ignored unless somebody takes it back."""
    code = (
        "from tests.bench.fake_cli import pretend\n"
        "from bench import cli\n"
        "pretend(pause=60)\n"
        f"raise SystemExit(cli.main(['run', 'fake', '--workers', '{workers}']))\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    taken = "runs.locks/*" if workers == "1" else "queue.journal.locks/*"
    end = time.monotonic() + 300
    while not list((tmp_path / "artifacts").glob(taken)):
        assert command.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=120)
    assert command.returncode == 1
    assert "interrupted; finished runs are kept" in said
    while _group_lives(command.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _group_lives(command.pid)  # no worker is left


def _group_lives(group: int) -> bool:
    """Whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
