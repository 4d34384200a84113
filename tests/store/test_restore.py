"""Old copies of the registry put back: every voice is due, none is lost, nothing paid again."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine, another_programs, newer, sentence
from tests.daemon_support import Host, fast_gateway, until
from tests.store.test_backup import files, names
from tests.support import DAY, HOUR, MINUTE, SECOND, Life, imported, wanted
from voicekeeper.core.models import Origin, Status
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store import backup
from voicekeeper.store.restore import Copy, Restored, restore


def put_back(life: Life, copy: Path) -> Restored:
    """Close the registry and restore a copy of it."""
    life.database.close()
    return restore(life.database, Copy(copy), now=life.clock.now(), policy=life.policy)


# by `restore`


def test_after_a_restore_every_voice_is_used_at_once_and_nothing_is_paid_for_again(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"), wanted("cloned"))
    life.live(HOUR)
    backup.write(life.database.path, tmp_path / "copy.db")
    life.register(imported("later"))
    life.live(HOUR)
    before = life.books()
    done = put_back(life, tmp_path / "copy.db")
    assert (done.voices, [each.name for each in done.missing], done.unknown) == (2, ["later"], [])
    assert (done.changed, done.removed) == ([], [])
    assert done.replaced is not None
    assert names(done.replaced) == ["anna", "cloned", "later"]
    life.live(HOUR)
    after = life.books()
    assert after.clone == 1
    used = {v: after.voices[v].uses - before.voices[v].uses for v in after.voices}
    assert used == {"id-anna": 1, "id-later": 0, life.voice("cloned").voice_id: 1}
    assert [voice.status for voice in life.registry.all()] == [Status.OK, Status.OK]


def test_what_was_asked_for_before_a_pass_of_either_registry_is_unknown_after_a_restore(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"), wanted("waiting", prefix="waiting"))
    life.registry.pause("waiting", now=life.clock.now())
    life.live(HOUR)
    life.clock.advance(HOUR)
    life.register(wanted("begun", prefix="begun"))  # no pass of the copy is later
    backup.write(life.database.path, tmp_path / "copy.db")
    life.live(HOUR)
    done = put_back(life, tmp_path / "copy.db")
    assert done.unknown == ["begun", "waiting"]
    assert [(each.name, each.voice_id is None) for each in done.changed] == [("begun", False)]
    life.live(HOUR)
    assert {life.voice(name).status for name in done.unknown} == {Status.UNKNOWN}
    assert len(life.upstream.submitted("begun")) == 1
    life.registry.resume("waiting", now=life.clock.now(), policy=life.policy)
    life.registry.retry("waiting", now=life.clock.now())
    life.live(HOUR)
    assert life.voice("waiting").status is Status.OK


@pytest.mark.parametrize("beside", ["nothing", "another registry"])
def test_on_another_machine_what_waits_in_the_copy_is_left_to_a_person(
    life: Life, tmp_path: Path, beside: str
) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("waiting"))
    backup.write(life.database.path, tmp_path / "copy.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = Life(elsewhere, gateway=life.gateway)
    there.clock = life.clock
    there.upstream._clock = life.clock  # noqa: SLF001 - one world, two machines
    there.keeper = there.new_keeper()
    there.database.close()
    if beside == "nothing":
        for path in elsewhere.iterdir():
            path.unlink()
    life.live(timedelta(seconds=30))  # it is made on the old machine
    made = life.books().clone
    done = put_back(there, tmp_path / "copy.db")
    assert (done.unknown, done.removed) == (["waiting"], [])
    there.live(HOUR)
    assert there.voice("waiting").status is Status.UNKNOWN
    assert "may be an older copy" in (there.voice("waiting").last_error or "")
    assert there.voice("anna").status is Status.OK
    assert life.books().clone == made


@pytest.mark.sqlite_only
def test_of_a_young_copy_put_back_by_hand_nothing_is_paid_for_again(
    life: Life, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with life.database.held(life.clock.now()):
        life.register(imported("anna"))
        life.live(HOUR)
        life.register(wanted("waiting"))
        backup.write(life.database.path, copy)
        life.live(5 * MINUTE)
    life.database.close()
    copy.replace(life.database.path)
    there = Life(life.database.path.parent, gateway=life.gateway)
    there.clock.advance(life.clock.true - there.clock.true)
    with there.database.held(there.clock.now()):
        there.live(HOUR)
    assert (there.voice("waiting").status, life.books().clone) == (Status.UNKNOWN, 1)
    assert "may be an older copy" in (there.voice("waiting").last_error or "")


@pytest.mark.sqlite_only
def test_an_ordinary_restart_doubts_no_enrollment_that_waits(life: Life) -> None:
    with life.database.held(life.clock.now()):
        life.register(imported("anna"))
        life.live(HOUR)
    life.register(wanted("waiting"))
    life.clock.advance(MINUTE)
    with life.database.held(life.clock.now()):
        life.live(HOUR)
    assert (life.voice("waiting").status, life.books().clone) == (Status.OK, 1)


def test_on_a_new_machine_what_was_asked_for_while_no_daemon_ran_is_made(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"))
    life.live(HOUR)
    life.clock.advance(HOUR)
    life.register(wanted("waiting"))
    backup.write(life.database.path, tmp_path / "copy.db")
    life.database.close()
    life.database.path.unlink()
    done = put_back(life, tmp_path / "copy.db")
    assert done.unknown == []
    life.live(HOUR)
    assert (life.voice("waiting").status, life.books().clone) == (Status.OK, 1)


def test_a_restore_names_what_the_replaced_registry_knew_and_the_copy_does_not(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"), imported("berta"), imported("clara"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    cli("remove", "berta")
    cli("remove", "clara")
    cli("add", "id-clara-2", "--name", "clara")
    cli("add", "id-new", "--name", "new-voice")
    cli.ready(wanted("asked"))
    ended = cli("restore", str(copy))
    assert ended.code == 0
    lines, add = ended.err.splitlines(), "voicekeeper add"
    assert lines[1:-1] == [
        "note: the copy does not know 2 voices of the registry that it replaced:",
        "  # asked had no voice_id yet",
        f"  {add} id-new --name new-voice --model cosyvoice-3-flash",
        "note: 1 voice had another voice_id in the registry that was replaced:",
        f"  voicekeeper remove clara && {add} id-clara-2 --name clara --model cosyvoice-3-flash",
        "note: 1 voice of the copy had been removed since, and will be used again:",
        "  voicekeeper remove berta",
    ]


def test_of_many_voices_a_restore_names_twenty_and_where_the_others_stand(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"))
    cli("backup", str(tmp_path / "copy.db"))
    cli.ready(*(imported(f"v{number:02}") for number in range(25)))
    lines = cli("restore", str(tmp_path / "copy.db")).err.splitlines()
    assert sum(line.startswith("  voicekeeper add id-v") for line in lines) == 20
    (replaced,) = tmp_path.glob("*.replaced-*")
    assert lines[-2] == (
        f"  and 5 more; 'VOICEKEEPER_DATABASE__URL=sqlite:///{replaced} voicekeeper export' "
        "writes out what was replaced."
    )


def spoilt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda path: path.unlink(), 1, "to restore"),
        (lambda path: path.write_text("no database, but some text of a person"), 78, "damaged"),
        (lambda path: path.write_bytes(b""), 78, "is damaged or empty"),
        (spoilt, 78, "is damaged"),
        (another_programs, 78, "a database of another program; nothing was changed"),
        (newer, 78, "was written by a newer voicekeeper (schema 9999"),
    ],
)
def test_a_copy_that_is_no_good_is_refused_before_anything_is_touched(
    cli: CommandLine, tmp_path: Path, spoil: Callable[[Path], None], code: int, words: str
) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    spoil(copy)
    before = cli.path.read_bytes()
    ended = cli("restore", str(copy))
    assert ended.code == code
    assert words in sentence(ended)
    assert str(copy) in ended.err
    assert cli.path.read_bytes() == before
    kept = {"voicekeeper.db", "voicekeeper.db.lock", "config.toml"}
    assert files(tmp_path) - {"copy.db"} <= kept


def test_a_restore_needs_no_registry_and_mends_a_damaged_one(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    cli.path.write_text("this was a registry")
    ended = cli("restore", str(copy))
    assert ended.code == 0
    replaced = next(path for path in tmp_path.iterdir() if ".replaced-" in path.name)
    assert replaced.read_text() == "this was a registry"
    assert f"What was there before is kept as {replaced}." in ended.err
    cli.path.unlink()
    ended = cli("restore", str(copy))
    assert (ended.code, cli.names()) == (0, ["anna"])
    assert "is kept" not in ended.err
    assert "is the registry itself" in sentence(cli("restore", str(cli.path)))
    missing = cli("restore", str(copy), environ={"VOICEKEEPER_DATABASE__URL": "sqlite:////no/v.db"})
    assert (missing.code, "the directory of /no/v.db" in missing.err) == (78, True)


def test_a_restore_waits_for_no_daemon_but_is_refused_with_75(tmp_path: Path) -> None:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        host = Host(tmp_path, server.base_url)
        host.register(imported("anna"))
        assert host.command("backup", str(tmp_path / "copy.db")) == 0
        with host.run() as daemon:
            daemon.await_event("keepalive.succeeded", name="anna")
            assert host.command("restore", str(tmp_path / "copy.db")) == 75
            daemon.await_event("keepalive.succeeded", name="anna", count=2)
            assert daemon.end(signal.SIGTERM) == 0
        used = server.books().voices["id-anna"].uses
        host.database.close()
        assert host.command("restore", str(tmp_path / "copy.db")) == 0
        with host.run() as daemon:
            until(lambda: server.books().voices["id-anna"].uses > used, "a use at once")
            assert daemon.end(signal.SIGTERM) == 0


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on another user")
def test_root_restores_for_the_owner_of_the_registry(
    cli: CommandLine, tmp_path: Path, owned: Path
) -> None:
    cli.ready(imported("anna"))
    state, mine = owned, tmp_path / "root"
    mine.mkdir(mode=0o700)
    copy = mine / "copy.db"
    assert cli("backup", str(copy)).code == 0
    path = state / "voicekeeper.db"
    there = {"VOICEKEEPER_DATABASE__URL": f"sqlite:///{path}"}
    for _ in range(2):
        assert cli.process("restore", str(copy), environ=there).code == 0
        assert {file.stat().st_uid for file in state.iterdir()} == {65_534}
        assert path.stat().st_mode & 0o777 == 0o600
    made = cli.process("backup", str(mine / "again.db"), environ=there)
    assert (made.code, (mine / "again.db").stat().st_uid) == (0, 0)
    assert {file.stat().st_uid for file in state.iterdir()} == {65_534}


def test_a_copy_of_an_older_schema_is_migrated_before_it_takes_its_place(
    cli: CommandLine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(copy)) as older:
        older.executescript((Path(__file__).parents[1] / "registry_0004.sql").read_text())
    assert cli("restore", str(copy)).code == 0
    assert cli.names() == ["guide", "host", "narrator", "waiting"]


# by hand


def copied(life: Life) -> Callable[[], None]:
    """Copy the registry; return what puts the copy back by hand."""
    life.database.close()
    copy = shutil.copy(life.database.path, life.database.path.with_suffix(".copy"))

    def put_back() -> None:
        life.database.close()
        shutil.copy(copy, life.database.path)

    return put_back


def test_from_a_copy_a_week_old_every_voice_is_used_at_once_and_none_is_made_again(
    life: Life,
) -> None:
    names = [f"v{number}" for number in range(5)]
    life.register(*map(imported, names), wanted("cloned"), wanted("designed", Origin.DESIGN))
    life.live(HOUR)
    put_back = copied(life)
    life.live(7 * DAY)
    before = life.books()
    put_back()
    life.live(HOUR)
    after = life.books()
    assert (after.clone, after.design) == (1, 1)
    assert all(voice.alive for voice in after.voices.values())
    assert {v: after.voices[v].uses - before.voices[v].uses for v in after.voices} == dict.fromkeys(
        after.voices, 1
    )
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


WAITING = "waiting"
CUT_OFF = "cut off"
RUNNING = "running"


@pytest.mark.parametrize("moment", [WAITING, CUT_OFF, RUNNING])
def test_an_enrollment_that_was_open_in_the_copy_is_not_paid_for_again(
    life: Life, moment: str
) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("made"))
    if moment == RUNNING:
        life.live(SECOND)
    elif moment == CUT_OFF:
        (job,) = life.worklist.claim(
            now=life.clock.now(), policy=life.policy, calls=9, polls=0
        ).calls
        life.worklist.intend(job, now=life.clock.now(), policy=life.policy)
    put_back = copied(life)
    life.live(SECOND)
    if moment == CUT_OFF:  # the copy knows nothing of this word either
        life.registry.retry("made", now=life.clock.now())
    life.live(7 * DAY)
    assert life.books().clone == 1
    put_back()
    life.live(HOUR)
    assert life.books().clone == 1
    assert life.voice("anna").status is Status.OK
    made = life.voice("made")
    assert made.status is (Status.OK if moment == RUNNING else Status.UNKNOWN)
    if moment != WAITING:
        return
    assert made.last_error == (
        "restored: this registry may be an older copy, and the voice may have been requested "
        "already"
    )
    assert life.log.of("enrollment.failed")[-1]["name"] == "made"
    life.registry.retry("made", now=life.clock.now())
    life.live(HOUR)
    assert (life.voice("made").status, life.books().clone) == (Status.OK, 2)


# a registry that is no copy


@pytest.mark.parametrize(
    ("asked_after", "off"),
    [
        (5 * MINUTE, MINUTE),
        (5 * MINUTE, 2 * DAY),
        (6 * DAY, DAY),
        (timedelta(0), HOUR - MINUTE),  # a pass saw it, but nobody puts a copy back so soon
    ],
)
def test_an_enrollment_that_waited_for_a_daemon_is_made(
    life: Life, asked_after: timedelta, off: timedelta
) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.clock.advance(asked_after)
    life.register(wanted("made"))
    life.clock.advance(off)
    life.live(HOUR)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 1


def test_a_request_that_waits_for_the_account_is_made_when_that_works(life: Life) -> None:
    """It was begun and refused many times: the registry knows of each."""
    life.gateway._balance_micros = 0  # noqa: SLF001 - the account is filled later
    life.register(wanted("made"))
    life.live(5 * DAY)
    life.live(DAY)
    assert life.voice("made").status is Status.NEW
    life.gateway._balance_micros = None  # noqa: SLF001
    life.live(DAY)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 1
