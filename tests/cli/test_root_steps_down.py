"""Root's commands in a folder of another user, who plants what turns root against itself.

Each plant is one that made the owner of the folder root, or had root remove or overwrite a file of
its own, when root opened the registry as root.
"""

import ctypes
import os
import re
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import voicekeeper
from tests.command import CommandLine, Ended, on_a_terminal, sentence
from tests.daemon_support import KEY
from tests.receiver import served
from tests.support import imported
from voicekeeper.store import files

NOBODY = 65_534
OTHER = 65_533

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down"),
]


def given(*paths: Path, to: int = NOBODY) -> None:
    """Have files and links belong to a user."""
    for path in paths:
        os.lchown(path, to, to)


@pytest.fixture
def loot() -> Iterator[Path]:
    """A file of root's that the owner of the folder would like to have, or to be rid of.

    It stands where anybody may pass, so that its own mode alone keeps it.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "loot"
        file.write_text("root's own\n")
        file.chmod(0o600)
        yield file


def is_safe(loot: Path) -> bool:
    """Tell whether a file of root's is as it was, alone in its folder."""
    found = loot.stat()
    return (
        loot.read_text() == "root's own\n"
        and (found.st_uid, stat.S_IMODE(found.st_mode), found.st_nlink) == (0, 0o600, 1)
        and os.listdir(loot.parent) == [loot.name]  # noqa: PTH208 - names alone
    )


@pytest.fixture
def cli(owned: Path, tmp_path: Path) -> CommandLine:
    """A registry in a folder of another user's, and settings of root's."""
    cli = CommandLine(owned / "voicekeeper.db").ready(imported("anna"))
    owned.joinpath("config.toml").unlink()
    (tmp_path / "config.toml").touch()
    cli.environ |= {
        "VOICEKEEPER_CONFIG": str(tmp_path / "config.toml"),
        "VOICEKEEPER_API_KEY": KEY,
        "VOICEKEEPER_UPSTREAM__BASE_URL": "http://127.0.0.1:9/api/v1",
    }
    given(*owned.iterdir())
    return cli


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}


def link_the_lock(cli: CommandLine, loot: Path) -> None:
    lock = cli.path.with_name("voicekeeper.db.lock")
    lock.unlink(missing_ok=True)
    lock.symlink_to(loot)
    given(lock)


def link_a_registry_that_is_none(cli: CommandLine, loot: Path) -> None:
    cli.path.unlink()
    cli.path.symlink_to(loot.with_name("new.db"))
    given(cli.path)


def link_the_registry(cli: CommandLine, loot: Path) -> None:
    cli.path.unlink()
    cli.path.symlink_to(loot)
    given(cli.path)


def name_it_in_a_journal(cli: CommandLine, loot: Path) -> None:
    """Leave the journal of a crash, whose transaction goes over several files.

    SQLite ends that transaction when it next reads the registry, and then removes the file that
    the journal names as the list of the others.
    """
    pages = cli.path.stat().st_size // 4096
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(loot)
    header = magic + struct.pack(">5I", 0, 1, pages, 512, 4096)
    listed = struct.pack(">I", 0x4000_0000 // 4096 + 1) + name
    listed += struct.pack(">II", len(name), sum(name)) + magic
    journal = cli.path.with_name("voicekeeper.db-journal")
    journal.write_bytes(header.ljust(512, b"\0") + listed)
    given(journal)


Plant = Callable[[CommandLine, Path], None]


@pytest.mark.parametrize(
    ("plant", "args"),
    [
        (link_the_lock, ["run", "--once"]),
        (link_the_lock, ["restore", "COPY"]),
        (link_a_registry_that_is_none, ["add", "id-ben", "--name", "ben"]),
        (link_a_registry_that_is_none, ["run", "--once"]),
        (link_the_registry, ["add", "id-ben", "--name", "ben"]),
        (link_the_registry, ["restore", "COPY"]),
        (name_it_in_a_journal, ["resolve", "anna"]),
        (name_it_in_a_journal, ["backup", "NEW"]),
    ],
)
def test_what_the_owner_plants_reaches_nothing_of_roots(
    cli: CommandLine, tmp_path: Path, loot: Path, plant: Plant, args: list[str]
) -> None:
    shutil.copy(cli.path, tmp_path / "copy.db")
    plant(cli, loot)
    names = {"COPY": str(tmp_path / "copy.db"), "NEW": str(tmp_path / "new.db")}
    ended = cli.process(*(names.get(word, word) for word in args))
    assert "Traceback" not in ended.err
    assert is_safe(loot), ended
    assert owners(cli.path.parent) == {NOBODY}


@pytest.mark.parametrize(
    "args",
    [
        ["resolve", "anna"],
        ["history", "anna"],
        ["check"],
        ["import", "/dev/null"],
        ["run", "--once"],
        ["backup", "NEW"],
    ],
    ids=" ".join,
)
def test_no_command_of_roots_is_roots_in_the_folder(
    cli: CommandLine, tmp_path: Path, args: list[str]
) -> None:
    """The kernel tells with which rights each file of the folder was opened."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    cli.environ["VOICEKEEPER_RETRY__BASE"] = "1h"
    log = tmp_path / "calls"
    words = [str(tmp_path / "new.db") if word == "NEW" else word for word in args]
    traced = [strace, "-f", "-qq", "-o", str(log), "-e", "trace=%file,/^clone,/^set.*uid"]
    subprocess.run(
        [*traced, *cli.command(*words)], env=cli.environ, capture_output=True, check=False
    )
    is_root: dict[str, bool] = {}
    touched = []
    for line in log.read_text().splitlines():
        process, call = line.split(maxsplit=1)
        if "clone" in call and (made := re.search(r" = (\d+)$", call)):
            is_root[made[1]] = is_root.get(process, True)
        if call.startswith("set"):
            assert call.startswith("setresuid(65534, 65534, 65534"), "it is for good"
            is_root[process] = False
        inside = f'"{cli.path.parent}/' in call
        if inside and is_root.get(process, True) and not call.startswith(("newfstatat", "lstat")):
            touched.append(call)
    assert touched == []
    assert False in is_root.values()


def test_the_owner_cannot_have_root_read_a_file_for_them(cli: CommandLine, loot: Path) -> None:
    """A copy that root puts back lies, as the daily ones, where the owner may exchange it."""
    copies = cli.path.with_name("voicekeeper.db.backups")
    copies.mkdir()
    copy = copies / "2026-05-01.db"
    shutil.copy(cli.path, copy)
    given(copies, copy)
    assert cli.process("restore", str(copy)).code == 0
    copy.unlink()
    copy.symlink_to(loot)
    given(copy)
    words = sentence(cli.process("restore", str(copy)))
    assert f"{copy}: the way there leads through {cli.path.parent}, which is nobody's" in words
    assert cli.names() == ["anna"]


def test_the_journal_of_a_copy_has_nothing_removed(
    cli: CommandLine, tmp_path: Path, loot: Path
) -> None:
    """A person may put back what another has planted, into a registry of their own."""
    name_it_in_a_journal(cli, loot)
    mine = CommandLine(tmp_path / "mine.db").ready(imported("ben"))
    words = sentence(mine.process("restore", str(cli.path)))
    assert f"{cli.path}-journal is that of a change to several databases" in words
    assert is_safe(loot)
    assert mine.names() == ["ben"]
    assert not list(tmp_path.glob(".mine.db.*"))


def test_a_copy_goes_where_root_may_write_and_nowhere_else(cli: CommandLine, loot: Path) -> None:
    loot.parent.chmod(0o700)
    made = loot.with_name("copy.db")
    assert cli.process("backup", str(made)).code == 0
    assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (0, 0o600)
    with closing(sqlite3.connect(made)) as connection:
        assert connection.execute("SELECT name FROM voice").fetchall() == [("anna",)]
    made.unlink()
    theirs = cli.path.with_name("there")
    theirs.symlink_to(loot.parent)
    given(theirs)
    words = sentence(cli.process("backup", str(theirs / "copy.db")))
    assert f"the way there leads through {cli.path.parent}, which is nobody's" in words
    assert is_safe(loot)


def make_in_child(registry: Path, preview_url: str) -> int:
    """Make the voice ben as the owner of the folder, once somebody waits for it; return the pid."""
    child = os.fork()
    if child:
        return child
    try:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        with sqlite3.connect(registry, timeout=30) as connection:
            while not connection.execute("SELECT 1 FROM voice WHERE name = 'ben'").fetchall():
                time.sleep(0.05)
            connection.execute(
                "INSERT INTO history (voice_pk, at, event, level, detail, logged)"
                " SELECT id, created_at, 'enrollment.succeeded', 'info',"
                " json_object('preview_url', ?), 1 FROM voice WHERE name = 'ben'",
                [preview_url],
            )
            connection.execute("UPDATE voice SET status = 'OK', voice_id = 'id-ben' WHERE id = 2")
    finally:
        os._exit(0)


def test_the_preview_of_a_voice_goes_where_root_may_write_and_nowhere_else(
    cli: CommandLine, tmp_path: Path, loot: Path
) -> None:
    theirs = cli.path.with_name("there")
    theirs.symlink_to(loot.parent)
    given(theirs)
    design = ["design", "ben", "--prefix", "b", "--prompt", "Warm.", "--preview-text", "Hi"]
    words = sentence(cli.process(*design, "--wait", "--save-preview", str(theirs / "ben.wav")))
    assert f"the way there leads through {cli.path.parent}, which is nobody's" in words
    assert cli.names() == ["anna"]
    loot.parent.chmod(0o700)
    (tmp_path / "preview.wav").write_bytes(b"RIFF")
    made = loot.with_name("ben.wav")
    with served(tmp_path) as base:
        maker = make_in_child(cli.path, f"{base}/preview.wav")
        ended = cli.process(*design, "--wait", "--save-preview", str(made))
        os.waitpid(maker, 0)
    assert (ended.code, ended.out) == (0, "id-ben\n")
    assert (made.read_bytes(), made.stat().st_uid) == (b"RIFF", 0)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    made.unlink()
    assert is_safe(loot)
    assert owners(cli.path.parent) == {NOBODY}


def test_a_journal_that_another_user_laid_beside_a_copy_is_refused(
    cli: CommandLine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(cli.path, copy)
    journal = tmp_path / "copy.db-journal"
    journal.write_bytes(b"x" * 600)
    given(journal)
    words = sentence(cli.process("restore", str(copy)))
    assert f"{journal} is not of the owner of {copy}" in words
    journal.unlink()
    os.mkfifo(journal)
    assert "is no plain file" in sentence(cli.process("restore", str(copy)))


def test_a_copy_that_fails_leaves_nothing_and_is_told_by_its_child(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.path.write_bytes(b"no database" * 400)
    before = sorted(cli.path.parent.iterdir())
    ended = cli.process("backup", str(tmp_path / "copy.db"))
    assert (ended.code, "damaged or not a database" in sentence(ended)) == (78, True)
    assert not (tmp_path / "copy.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert sorted(cli.path.parent.iterdir()) == before


@pytest.mark.parametrize("registry", ["the owner's", "root's"])
def test_settings_of_another_user_have_root_read_no_key_for_them(
    cli: CommandLine, loot: Path, registry: str
) -> None:
    """They say which file is read, and where what is in it is sent."""
    settings = cli.path.with_name("theirs.toml")
    place = cli.path if registry == "the owner's" else loot.with_name("none.db")
    settings.write_text(
        f'[database]\nurl = "sqlite:///{place}"\n[upstream]\napi_key_file = "{loot}"\n'
    )
    given(settings)
    loot.write_text("key-of-root\n")
    del cli.environ["VOICEKEEPER_DATABASE__URL"]
    told = cli.process("--config", str(settings), "check").out
    reason = "cannot be read: permission denied: nobody may change"
    assert f"names a file that {reason} {settings}, and it is not theirs" in told
    given(loot)
    told = cli.process("--config", str(settings), "check").out
    assert f"ok       key       read from {loot} (upstream.api_key_file)" in told


def test_a_trial_message_is_sent_by_whom_the_daemon_is(
    cli: CommandLine, tmp_path: Path, loot: Path
) -> None:
    """An address may name a file that is sent along."""
    loot.write_text('{"type": "loot"}')
    address = f"workflows://localhost:9/{'a' * 32}/{'b' * 43}/?template={loot}"
    (tmp_path / "config.toml").write_text(f'[alerts]\nurls = ["{address}"]\n')
    ended = cli.process("alerts", "test")
    assert (ended.code, "did not take it" in ended.out) == (1, True)
    assert "'loot'" not in ended.out


def _refused(cli: CommandLine, *words: str) -> None:
    for args in (["status"], ["add", "id-ben", "--name", "ben"]):
        ended: Ended = cli.process(*args)
        assert ended.code == (3 if args == ["status"] else 78)
        told = ended.out + ended.err
        assert all(word in told for word in words), told
        assert told.count("\n") == 1


def test_a_registry_that_is_not_its_folders_owners_is_refused(cli: CommandLine) -> None:
    given(cli.path, to=0)
    _refused(cli, f"{cli.path} must be a plain file of nobody", f"'chown nobody {cli.path}'")
    cli.path.unlink()
    os.mkfifo(cli.path)
    given(cli.path)
    _refused(cli, f"{cli.path} must be a plain file of nobody")


def test_a_folder_of_roots_that_others_may_write_to_is_refused(cli: CommandLine) -> None:
    given(cli.path.parent, *cli.path.parent.iterdir(), to=0)
    for mode, group in ((0o1777, 0), (0o775, OTHER)):
        os.chown(cli.path.parent, 0, group)
        cli.path.parent.chmod(mode)
        _refused(cli, f"{cli.path.parent} is root's and others may write to it")
    for mode, group in ((0o755, OTHER), (0o775, 0)):  # root's own group, as in many containers
        os.chown(cli.path.parent, 0, group)
        cli.path.parent.chmod(mode)
        assert cli.process("resolve", "anna").out == "id-anna\n"


def test_a_folder_within_a_third_users_is_refused(cli: CommandLine, owned: Path) -> None:
    within = owned / "within"
    within.mkdir()
    for made in list(owned.iterdir()):
        if made != within:
            made.rename(within / made.name)
    given(owned, to=OTHER)
    given(within, *within.iterdir())
    cli.environ["VOICEKEEPER_DATABASE__URL"] = f"sqlite:///{within}/voicekeeper.db"
    _refused(cli, f"the way there leads through {owned}, which is 65533's")


def test_a_folder_that_root_has_linked_is_its_owners(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "voices").symlink_to(cli.path.parent)
    cli.environ["VOICEKEEPER_DATABASE__URL"] = f"sqlite:///{tmp_path}/voices/voicekeeper.db"
    tmp_path.parent.chmod(0o711)
    assert cli.process("add", "id-ben", "--name", "ben").code in (0, 78)  # as it may be reached
    assert owners(cli.path.parent) == {NOBODY}


def test_root_that_may_not_become_another_user_is_told_so(cli: CommandLine) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (util-linux)")
    lacks = ["--bounding-set", "-setuid", "--inh-caps", "-setuid"]
    before = cli.path.read_bytes()
    done = subprocess.run(
        [setpriv, *lacks, *cli.command("add", "id-ben", "--name", "ben")],
        env=cli.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr == (
        "voicekeeper: root may not become nobody, who owns the registry's folder (operation not "
        "permitted; it takes CAP_SETUID and CAP_SETGID); run the command as that user\n"
    )
    assert cli.path.read_bytes() == before


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """The program in a folder of root's that nobody else may enter, as one in /root is."""
    tmp_path.chmod(0o700)
    shutil.copytree(Path(voicekeeper.__file__).parent, tmp_path / "voicekeeper")
    return tmp_path


def privately(private: Path, cli: CommandLine, *args: str) -> Ended:
    done = subprocess.run(
        cli.command(*args), cwd=private, env=cli.environ, capture_output=True, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_program_that_the_owner_cannot_read_works_on_their_registry(
    cli: CommandLine, private: Path
) -> None:
    cli.environ["VOICEKEEPER_ALERTS__URLS"] = "json://127.0.0.1:9"
    assert privately(private, cli, "add", "id-ben", "--name", "ben").code == 0
    checked = privately(private, cli, "check")
    assert checked.err == ""
    assert "alerts    1 address is understood" in checked.out
    assert cli.names() == ["anna", "ben"]
    assert owners(cli.path.parent) == {NOBODY}


def test_what_a_program_lacks_that_the_owner_cannot_read_is_told(
    cli: CommandLine, private: Path
) -> None:
    cli.path.unlink()
    ended = privately(private, cli, "add", "id-ben", "--name", "ben")
    assert ended.code == 78
    words = sentence(ended)
    assert (
        "root became nobody, who owns the registry's folder and cannot read this program" in words
    )
    assert "install both where everybody can read them" in words


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Have a file system of nobody's over a folder, as fusermount makes it; it never answers."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"needs /dev/fuse: {error}")
    try:
        options = f"fd={device},rootmode=40000,user_id={NOBODY},group_id={NOBODY}"
        if libc.mount(b"test", bytes(folder), b"fuse", 0, options.encode()) != 0:
            pytest.skip(f"may not mount: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.umount2(bytes(folder), 2)  # MNT_DETACH
    finally:
        os.close(device)


@pytest.mark.parametrize(
    "args",
    [["status"], ["resolve", "anna"], ["add", "id-ben", "--name", "ben"], ["backup", "NEW"]],
    ids=" ".join,
)
def test_a_folder_that_its_owner_hides_from_root_is_not_taken_for_roots(
    cli: CommandLine, tmp_path: Path, args: list[str]
) -> None:
    """Else root stays root, and its owner can show the folder again before root goes on."""
    words = [str(tmp_path / "new.db") if word == "NEW" else word for word in args]
    with mounted(cli.path.parent):
        ended = cli.process(*words)
    assert ended.code == (3 if args == ["status"] else 78)
    assert f"root cannot look at {cli.path.parent}, so it goes no further" in ended.out + ended.err


def test_a_copy_is_not_written_where_another_hides_the_way_from_root(
    owned: Path, loot: Path
) -> None:
    made = owned / "copies" / "new.db"
    with mounted(owned), pytest.raises(OSError, match="root cannot look at"):
        files.is_closed(made.parent)
    with mounted(owned), pytest.raises(OSError, match="root cannot look at"):
        files.open_for(made, loot)


SWAPPING = """
import os, sys
file, loot, kept = sys.argv[1:]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print("swapping", flush=True)
while os.path.exists(os.path.dirname(file)):
    for lead in (lambda: os.symlink(loot, file + ".new"), lambda: os.link(kept, file + ".new")):
        try:
            lead()
            os.rename(file + ".new", file)
        except OSError:
            pass
"""


def test_who_exchanges_a_file_while_root_looks_gains_nothing(cli: CommandLine, loot: Path) -> None:
    kept = cli.path.with_name("kept")
    shutil.copy(cli.path, kept)
    given(kept)
    with subprocess.Popen(
        [sys.executable, "-c", SWAPPING, str(cli.path), str(loot), str(kept)],
        stdout=subprocess.PIPE,
    ) as swapping:
        assert swapping.stdout is not None
        swapping.stdout.readline()
        try:
            for args in (["status"], ["add", "id-ben", "--name", "ben"], ["status"]):
                cli.process(*args)
        finally:
            swapping.kill()
    assert is_safe(loot)
    assert owners(cli.path.parent) == {NOBODY}


@pytest.mark.parametrize("args", [["resolve", "nobody"], ["list"], ["status"]], ids=" ".join)
def test_root_is_told_what_only_the_owner_finds_out(args: list[str]) -> None:
    """The owner may not be able to read this program, and root asks as the owner."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        cli = CommandLine(Path(home) / "voicekeeper.db").ready(imported("anna"))
        with closing(sqlite3.connect(cli.path)) as connection, connection:
            connection.execute("UPDATE voice SET remade_at = 'then', next_at = 'then'")
        for path in (Path(home), *Path(home).iterdir()):
            os.chown(path, NOBODY, NOBODY)
        piped, shown = cli.process(*args), on_a_terminal(cli, *args)
    assert "Traceback" not in piped.err + shown.out
    words = "no voice is named" if "nobody" in args else "holds a value that cannot be read"
    assert words in " ".join((piped.out + piped.err).split())
    assert words in " ".join(shown.out.split())
    assert piped.code == shown.code != 0
