"""What becomes of a journal that a file system, or somebody else, has damaged."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.errors import BenchError
from bench.runs.journal import salvage
from bench.runs.queue import DamagedQueue, open_queue
from bench.runs.store import pack
from tests.bench.records import RECORD
from tests.bench.runs.test_queue import DONE, TICKET, states
from tests.bench.runs.test_store import COUNTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND = replace(TICKET, seed=1)
PACKED = (DONE, pack(replace(RECORD, seed=1), COUNTS))
SETTINGS = [b'{"hello":1}', b"null", b"[]", b"7", b'"text"']


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one run that is done, another that is taken, and a third that waits."""
    path = tmp_path / "q.journal"
    with closing(open_queue(str(path))) as queue:
        for ticket in (TICKET, SECOND, replace(TICKET, seed=2)):
            queue.enqueue(ticket)
        for packed in PACKED:
            claim = queue.take("code")
            assert claim is not None
            queue.finish(claim, packed)
    return path


def between(lines: list[bytes], *more: bytes) -> list[bytes]:
    return [*lines[:3], *more, *lines[3:]]


def glued(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[5].rstrip() + lines[6], *lines[7:]]


def half(lines: list[bytes]) -> list[bytes]:
    report = b'{"op_code":8,"worker_id":"x","trial_id":0,"user_attr":{"st'
    return between(lines, report + lines[3])[:4] + lines[4:]


INTACT: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a blank line": lambda lines: between(lines, b"\n"),
    "two records in one line": glued,
    "half a record before a whole one": half,
    "garbage": lambda lines: between(lines, b"%&/(garbage)\n"),
    "half a record in a line of its own": lambda lines: between(
        lines, b'{"op_code":8,"worker_id":"x","trial_id":0,"user_attr":{"st\n'
    ),
    **{
        f"a line of somebody else: {text.decode()}": (
            lambda lines, text=text: between(lines, text + b"\n")  # type: ignore[misc]
        )
        for text in SETTINGS
    },
}
LOSSY: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "zero bytes": lambda lines: between(lines, b"\0" * 512 + b"\n"),
    "zero bytes in place of records": lambda lines: [*lines[:4], b"\0" * 700 + b"\n", *lines[7:]],
    "bytes that are no text": lambda lines: between(lines, b"\xff\xfe\x80\n"),
    "half a creation": lambda lines: between(lines, b'{"op_code":4,"worker_id":"x","stu\n'),
    "a missing creation": lambda lines: [lines[0], *lines[2:]],
    "no study": lambda lines: lines[1:],
    "an operation of another program": lambda lines: between(lines, b'{"op_code":99}\n'),
    "nesting without end": lambda lines: between(lines, b"[" * 9000 + b"\n"),
    "a ticket of lists": lambda lines: between(
        lines, lines[1].replace(b'"seed":0', b'"seed":[0]'), lines[1].replace(b'"c"', b"[]")
    ),
    "deaths that are no number": lambda lines: between(
        lines, lines[1].replace(b'"deaths":0', b'"deaths":"x"')
    ),
    "an operation without its parts": lambda lines: between(lines, b'{"op_code":8}\n'),
}


def damage(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    content = b"".join(change(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(content)
    return content


@pytest.mark.parametrize("kind", INTACT)
def test_nothing_is_lost_where_every_record_is_whole(
    path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    content = damage(path, INTACT[kind])
    with closing(open_queue(str(path))) as queue:
        assert states(queue) == ["done", "done", "waiting"]
        assert [entry.packed for entry in queue.entries()[:2]] == list(PACKED)
    assert path.with_name("q.journal.damaged-1").read_bytes() == content
    told = " ".join(capsys.readouterr().err.split())
    assert "set aside as q.journal.damaged-1" in told
    assert "2 finished runs were found in it" in told
    with closing(open_queue(str(path))) as queue:
        assert states(queue) == ["done", "done", "waiting"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", LOSSY)
def test_finished_runs_are_kept_where_records_may_be_lost(
    path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """What waits is requested again by the next command."""
    damage(path, LOSSY[kind])
    with closing(open_queue(str(path))) as queue:
        found = [entry for entry in queue.entries() if entry.state == "done"]
    for entry in found:
        assert entry.packed == PACKED[entry.ticket.seed]
    expected = {0, 1} - ({0, 1} if kind == "zero bytes in place of records" else set())
    if kind == "a missing creation":
        expected = {1}
    assert {entry.ticket.seed for entry in found} >= expected
    assert "set aside as q.journal.damaged-1" in " ".join(capsys.readouterr().err.split())


def test_a_result_is_given_to_no_ticket_that_may_not_be_its_own(path: Path) -> None:
    with closing(open_queue(str(path))) as queue:
        queue.enqueue(replace(TICKET, code="later"))
    damage(path, lambda lines: between(lines, b"\0\n"))
    with closing(open_queue(str(path))) as queue:
        assert [entry.ticket for entry in queue.entries()] == [SECOND]


def test_an_earlier_journal_that_was_set_aside_stays(path: Path) -> None:
    for number in (1, 2):
        damage(path, lambda lines: between(lines, b"null\n"))
        open_queue(str(path)).close()
        assert path.with_name(f"q.journal.damaged-{number}").exists()


@pytest.mark.parametrize("change", [lambda text: text.replace(b"\n", b"\r\n"), lambda text: b""])
def test_other_line_ends_and_an_empty_file_are_no_damage(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(change(path.read_bytes()))
    open_queue(str(path)).close()
    assert not path.with_name("q.journal.damaged-1").exists()


def test_damage_in_a_running_study_is_one_line(path: Path) -> None:
    queue = open_queue(str(path))
    with path.open("ab") as file:
        file.write(b'null\n\n{"op_code":8}\n')
    with pytest.raises(DamagedQueue, match="start the same command again"):
        queue.entries()
    assert isinstance(DamagedQueue(""), BenchError)


def test_a_process_notices_that_another_has_set_the_journal_aside(path: Path) -> None:
    queue = open_queue(str(path))
    damage(path, lambda lines: between(lines, b"null\n"))
    open_queue(str(path)).close()
    with pytest.raises(DamagedQueue, match=r"another process .* set it aside"):
        queue.entries()


def test_a_journal_that_is_a_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="expected a journal file that can be written"):
        open_queue(str(tmp_path))


def test_whole_operations_are_found_wherever_they_stand() -> None:
    first, second = '{"op_code":8,"a":"}{\\"op_code\\":"}', '{"op_code":6,"b":{"c":[1]}}'
    for content in (first + second, f"x{first}\n\ny{second}z", f'{{"op_code":8,"q{first}{second}'):
        found = salvage(content.encode())
        assert list(found.operations) == [json.loads(first), json.loads(second)]
        assert not found.complete, "no study was created"
    created = '{"op_code":0,"study_name":"x"}'
    assert salvage(f'{created}{first}null\n\n{{"op_code":8,{second}'.encode()).complete
    assert not salvage(b'{"op_code":4,"x').complete
    assert not salvage(b'{"op_co\0').complete
