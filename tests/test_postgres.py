"""A registry on a PostgreSQL server: made once, shared by keepers, lost and found again."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlmodel import SQLModel, select

from tests.command import CommandLine
from tests.daemon_support import Daemon, until
from tests.postgres import Cluster
from tests.support import HOUR, MINUTE, NOW, SECOND, imported, policy, wanted
from voicekeeper import lifecycle, schedule
from voicekeeper.answers import Accepted, Report
from voicekeeper.cli.session import database_of
from voicekeeper.clock import SystemClock
from voicekeeper.config import load
from voicekeeper.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseUnusable,
    NotFound,
    VoicekeeperError,
)
from voicekeeper.lifecycle import Change
from voicekeeper.models import Active, KeeperBeat, Kind, Status, Task, TaskState, Voice
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.secret import SecretStr
from voicekeeper.store.jobs import Answer, Claims, Decide
from voicekeeper.store.postgres import PostgresDatabase
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.worklist import Worklist
from voicekeeper.terms import SCHEMA
from voicekeeper.verdict import Blame, Fault

pytestmark = pytest.mark.postgres

POLICY = policy()
SILENCE = POLICY.silence
Row = TypeVar("Row", bound=SQLModel)
PASSWORD = "pass-of-nobody"
OLDER = Path(__file__).with_name("registry_0004.sql")


@pytest.fixture
def database(cluster: Cluster) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(cluster.empty())
    yield database
    database.close()


@pytest.fixture
def bare(cluster: Cluster) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(cluster.without_tables())
    yield database
    database.close()


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A server that a test may stop."""
    with Cluster() as server:
        yield server


def register(database: PostgresDatabase, *voices: NewVoice) -> None:
    Registry(database).register(voices, now=NOW, policy=POLICY)


def rows(database: PostgresDatabase, table: type[Row]) -> list[Row]:
    with database.reading() as session:
        return list(session.scalars(select(table)))


def by(rule: Callable[..., Change], answer: object, now: datetime = NOW) -> Decide:
    """Return a rule that lacks but the rows."""

    def decide(voice: Voice | None, task: Task) -> Change:
        return rule(voice, task, answer, now=now, policy=POLICY)

    return decide


class Keeper:
    """A keeper's side of the store."""

    def __init__(self, database: PostgresDatabase, name: str, begun: datetime = NOW) -> None:
        self.name = name
        self.worklist = Worklist(database)
        self.worklist.take_over(keeper=name, version="1", now=begun, policy=POLICY)

    def claim(self, now: datetime = NOW, *, calls: int = 100) -> Claims:
        return self.worklist.claim(keeper=self.name, now=now, policy=POLICY, calls=calls, polls=100)

    def passes(self, since: datetime, until: datetime) -> list[Claims]:
        """Pass each 10 s from one time to another."""
        ticks = (until - since) // (10 * SECOND)
        return [self.claim(since + number * 10 * SECOND) for number in range(ticks + 1)]


# the tables


def test_the_migrations_make_what_the_models_describe(database: PostgresDatabase) -> None:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, SQLModel.metadata) == []
        indexes = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'"
        partial = set(session.connection().exec_driver_sql(indexes.replace("%", "%%")).scalars())
    assert partial == {
        index.name
        for table in SQLModel.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }


def test_an_older_registry_is_upgraded_with_all_that_it_holds(bare: PostgresDatabase) -> None:
    told = OLDER.read_text().partition("CREATE INDEX")[2]
    rows = [line for line in told.split(";\n") if line.startswith("INSERT INTO ")]
    with bare.writing() as session:
        config = Config()
        config.set_main_option("script_location", "voicekeeper.store:migrations")
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0004")
        for row in rows:
            session.connection().exec_driver_sql(row.replace("%", "%%"))
    bare.prepare(upgrade=True)
    assert bare.schema() == SCHEMA
    registry = Registry(bare)
    assert [(v.name, v.status.value) for v in registry.all()] == [
        ("guide", "FAILED"),
        ("host", "LOST"),
        ("narrator", "OK"),
        ("removed", "OK"),
        ("waiting", "NEW"),
    ]
    with bare.reading() as session:
        counts = [
            session.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608
            for table in ("task", "ledger", "history", "alert", "message", "breaker", "past")
        ]
        active = session.get_one(Active, 1)
        assert (active.keeper, active.beat, active.interval_s) == ("2@here", None, 259_200)
    assert counts == [6, 3, 2, 2, 1, 1, 1]


def test_many_who_make_the_tables_at_once_make_them_once(bare: PostgresDatabase) -> None:
    start = threading.Barrier(4)
    schemas: list[str] = []

    def prepare() -> None:
        start.wait(30)
        bare.prepare(upgrade=True)
        schemas.append(bare.schema())

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert schemas == [SCHEMA] * 4


def test_a_database_without_the_tables_holds_no_registry(bare: PostgresDatabase) -> None:
    assert not bare.exists()
    bare.prepare(upgrade=False)
    assert bare.exists()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE voice CASCADE", "is a database of another program"),
        ("UPDATE alembic_version SET version_num = '9999'", "written by a newer voicekeeper"),
        (
            "UPDATE alembic_version SET version_num = '0005'",
            "start the daemon of this version once",
        ),
    ],
)
def test_tables_that_are_not_ours_are_left_alone(
    bare: PostgresDatabase, statement: str, words: str
) -> None:
    bare.prepare(upgrade=False)
    with bare.writing() as session:
        session.driver.execute(statement)
    with pytest.raises(DatabaseUnusable, match=words):
        bare.prepare(upgrade=False)


def test_a_user_who_may_make_no_tables_is_told_what_to_do(cluster: Cluster) -> None:
    cluster.execute("CREATE ROLE stranger LOGIN")
    stranger = PostgresDatabase(cluster.url("postgres").replace("//keeper@", "//stranger@"))
    with pytest.raises(DatabaseUnusable, match="make the user its owner"):
        stranger.prepare(upgrade=True)
    stranger.close()


def test_words_of_the_gateway_may_hold_what_postgresql_cannot_store(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna"))
    keeper = Keeper(database, "1@here")
    (job,) = keeper.claim().calls
    fault = Fault(Blame.UPSTREAM, "500", "no\0words")
    keeper.worklist.record([Answer(job, by(lifecycle.refused, fault), NOW, POLICY)])
    (task,) = rows(database, Task)
    assert task.message == "no\ufffdwords"


# who has what


def test_keepers_at_once_get_different_voices(database: PostgresDatabase) -> None:
    register(database, *(imported(f"v{n}") for n in range(60)))
    keepers = [Keeper(database, f"{n}@here") for n in range(3)]
    for keeper in keepers:  # until all know of all, and have their share
        keeper.claim(calls=0)
        keeper.claim(calls=0)
    start = threading.Barrier(3)
    taken: list[str] = []

    def work(keeper: Keeper) -> None:
        start.wait(30)
        while calls := keeper.claim(calls=3).calls:
            taken.extend(job.name for job in calls)

    threads = [threading.Thread(target=work, args=(keeper,)) for keeper in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == sorted(f"v{n}" for n in range(60))


def test_keepers_in_each_others_way_wait_and_fail_none(database: PostgresDatabase) -> None:
    """While calls fail, open breakers and are probed, each pass and answer wants the same rows."""
    register(database, *(imported(f"v{n}") for n in range(40)))
    keepers = [Keeper(database, f"{n}@here") for n in range(4)]
    for _ in range(2):
        for keeper in keepers:
            keeper.claim(calls=0)
    start, failed, answered = threading.Barrier(4), [], Counter[str]()
    trouble = Fault(Blame.UPSTREAM, "500", "server error")

    def work(keeper: Keeper, chance: random.Random) -> None:
        for number in range(60):
            now = NOW + number * 60 * SECOND
            for job in keeper.claim(now, calls=4).calls:
                well = by(lifecycle.reported, Report("success"), now)
                answer = well if chance.random() < 0.3 else by(lifecycle.refused, trouble, now)
                keeper.worklist.record([Answer(job, answer, now, POLICY)])
                answered[job.kind] += 1

    def guarded(keeper: Keeper, seed: int) -> None:
        start.wait(30)
        try:
            work(keeper, random.Random(seed))
        except VoicekeeperError as error:
            failed.append(str(error))

    threads = [
        threading.Thread(target=guarded, args=(keeper, seed)) for seed, keeper in enumerate(keepers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failed == []
    assert answered[Kind.KEEPALIVE] > 5
    assert answered[Kind.CONTROL] > 5


def test_who_comes_new_calls_nothing_until_the_others_have_made_room(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna"))
    first = Keeper(database, "1@here")
    assert first.claim(calls=0).share == 1
    second = Keeper(database, "2@here")
    early = second.claim()
    assert (early.calls, early.share < 0.01) == ([], True)
    assert first.claim(calls=0).share == 0.5
    later = second.claim()
    assert ([job.name for job in later.calls], later.share) == (["anna"], 0.5)


def test_what_one_had_who_left_falls_to_the_others_at_once(database: PostgresDatabase) -> None:
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    for keeper in (first, second, first):
        keeper.claim()
    second.worklist.leave(keeper="2@here")
    assert first.claim().share == 1


def test_what_a_dead_one_had_falls_to_the_others_when_its_time_is_over(
    database: PostgresDatabase,
) -> None:
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    for keeper in (first, second, first):
        keeper.claim()
    assert first.claim(NOW + SILENCE - SECOND).share == 0.5
    assert first.claim(NOW + SILENCE).share == 1


def test_one_that_was_taken_for_dead_begins_anew(database: PostgresDatabase) -> None:
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    second.claim()
    awake = NOW + 2 * HOUR * 24
    first.passes(awake - SILENCE, awake)
    Keeper(database, "3@here", awake)  # which forgets the long dead
    assert {beat.keeper for beat in rows(database, KeeperBeat)} == {"1@here", "3@here"}
    assert second.claim(awake).share < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_never_add_up_to_more_than_the_account(
    database: PostgresDatabase, seed: int
) -> None:
    chance, now = random.Random(seed), NOW
    keepers = [Keeper(database, f"{n}@here") for n in range(4)]
    for _ in range(80):
        now += timedelta(seconds=chance.expovariate(1 / 5))
        keeper = chance.choice(keepers)
        if chance.random() < 0.1:
            keeper.worklist.leave(keeper=keeper.name)
        else:
            keeper.claim(now)
        living = [
            beat.share
            for beat in rows(database, KeeperBeat)
            if beat.alive_until is not None and beat.alive_until > now
        ]
        assert sum(living) <= 1 + 1e-9


def test_other_settings_of_another_keeper_make_no_voice_due(database: PostgresDatabase) -> None:
    register(database, imported("anna", last_used_at=NOW))
    patient = Worklist(database)
    patient.take_over(keeper="1@here", version="1", now=NOW, policy=POLICY)
    longer = policy(interval=POLICY.interval * 2)
    patient.claim(keeper="1@here", now=NOW, policy=longer, calls=1, polls=1)
    with database.writing() as session:
        voice = session.scalars(select(Voice)).one()
        voice.next_at = NOW + POLICY.interval * 1.5
    hasty = Keeper(database, "2@here")
    assert hasty.claim().calls == []
    assert Registry(database).get("anna").next_at == schedule.due(NOW, "anna", POLICY)


def test_a_keeper_that_has_left_is_missed_at_once(database: PostgresDatabase) -> None:
    registry, tick = Registry(database), timedelta(seconds=10)
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    assert registry.runs() is False  # neither has made a pass
    for keeper in (first, second):
        keeper.claim()
        assert registry.runs() is None
        assert not registry.is_unkept(now=NOW, tick=tick)
    first.worklist.leave(keeper="1@here")
    assert not registry.is_unkept(now=NOW, tick=tick)
    second.worklist.leave(keeper="2@here")
    assert registry.runs() is False
    assert registry.is_unkept(now=NOW, tick=tick)


# what a dead keeper leaves


def test_an_enrollment_of_a_dead_keeper_is_left_to_a_person(database: PostgresDatabase) -> None:
    register(database, wanted("anna"))
    dying = Keeper(database, "1@here")
    job = dying.worklist.intend(dying.claim().calls[0], now=NOW, policy=POLICY)
    living = Keeper(database, "2@here")
    early = living.passes(NOW, NOW + SILENCE - 10 * SECOND)
    assert Registry(database).get("anna").status is Status.NEW
    late = living.passes(NOW + SILENCE, NOW + SILENCE + 30 * SECOND)
    assert Registry(database).get("anna").status is Status.UNKNOWN
    assert [job for claims in (*early, *late) for job in claims.calls] == []
    told = [line.event for claims in late for line in claims.lines]
    assert told == ["enrollment.failed", "voice.status_changed"]
    answered = NOW + SILENCE + HOUR
    submitted = partial(lifecycle.submitted, cost_micros=1)
    late_answer = by(submitted, Accepted("task_1"), answered)
    assert dying.worklist.record([Answer(job, late_answer, answered, POLICY)]) == [[]]


def test_a_keepalive_of_a_dead_keeper_is_made_by_another_after_its_lease(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna"))
    assert len(Keeper(database, "1@here").claim().calls) == 1
    living = Keeper(database, "2@here")
    claims = living.passes(NOW, NOW + 2 * SILENCE)
    assert [job.name for each in claims for job in each.calls] == ["anna"]
    first, second = sorted(rows(database, Task), key=lambda task: task.id or 0)
    assert (first.state, second.state) == (TaskState.UNKNOWN, TaskState.INTENT)


def test_after_the_database_was_away_nobody_is_taken_for_dead_at_once(
    database: PostgresDatabase,
) -> None:
    register(database, wanted("anna"))
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    first.worklist.intend(first.claim().calls[0], now=NOW, policy=POLICY)
    second.passes(NOW, NOW + SILENCE / 2)
    back = NOW + 2 * SILENCE
    second.passes(back, back + SILENCE / 2)
    assert Registry(database).get("anna").status is Status.NEW


def test_a_start_leaves_a_living_keepers_calls_alone(database: PostgresDatabase) -> None:
    register(database, imported("anna"), wanted("bert"))
    first = Keeper(database, "1@here")
    for job in first.claim().calls:
        if job.task_pk is None:
            first.worklist.intend(job, now=NOW, policy=POLICY)
    second = Keeper(database, "2@here", NOW + SECOND)
    assert second.claim(NOW + SECOND).calls == []
    assert {task.state for task in rows(database, Task)} == {TaskState.INTENT}
    assert {beat.keeper for beat in rows(database, KeeperBeat)} == {"1@here", "2@here"}


def test_a_keeper_frozen_in_a_transaction_holds_nobody_up_for_long(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.store.postgres._FROZEN_S", 0.3)
    frozen, other = (PostgresDatabase(url) for url in [cluster.empty()] * 2)
    register(frozen, imported("anna"))

    def freeze() -> None:
        with frozen.writing() as session:
            session.driver.execute("UPDATE voice SET failures = 7")
            Registry(other).pause("anna", now=NOW)  # waits for the server to end that
            session.driver.execute("SELECT 1")

    with pytest.raises(DatabaseAway):
        freeze()
    voice = Registry(frozen).get("anna")
    assert (voice.paused, voice.failures) == (True, 0)
    frozen.close()
    other.close()


# a server that is gone


def test_a_server_that_comes_back_is_used_again(server: Cluster) -> None:
    database = PostgresDatabase(server.empty())
    registry = Registry(database)
    register(database, imported("anna"))
    server.stop()
    for _ in range(2):
        with pytest.raises(DatabaseAway, match=r"does not answer .* nothing is lost") as lost:
            registry.get("anna")
        assert lost.value.exit_code == 75
    server.start()
    assert registry.get("anna").name == "anna"
    database.close()


def test_a_restart_between_two_passes_is_not_even_noticed(server: Cluster) -> None:
    database = PostgresDatabase(server.empty())
    register(database, imported("anna"))
    server.stop()
    server.start()
    assert Registry(database).get("anna").name == "anna"
    database.close()


def test_a_daemon_that_loses_its_database_says_so_once_and_goes_on(
    server: Cluster, tmp_path: Path
) -> None:
    url = server.empty()
    database = PostgresDatabase(url)
    with SandboxServer(Gateway(key="sk-test")) as gateway:
        cli = CommandLine(
            tmp_path / "unused.db",
            environ={
                "VOICEKEEPER_DATABASE__URL": url,
                "VOICEKEEPER_UPSTREAM__BASE_URL": gateway.base_url,
                "VOICEKEEPER_API_KEY": "sk-test",
                "VOICEKEEPER_DAEMON__TICK": "0.2s",
            },
        )
        with Daemon(["run"], cli.environ) as daemon:
            daemon.await_event("daemon.ready")
            server.stop()
            daemon.await_event("pass.failed")
            until(lambda: cli.process("status").code == 3, "nobody can tell")
            server.start()
            seen = Registry(database).last_pass_at()
            until(lambda: Registry(database).last_pass_at() != seen, "a pass")
            assert len(daemon.told("pass.failed")) == 1
            (told,) = daemon.told("pass.failed")
            assert "does not answer" in told["error"]
    database.close()


# words for people


def test_a_password_is_in_no_sentence_and_no_repr() -> None:
    url = f"postgresql+psycopg://keeper:{PASSWORD}@127.0.0.1:1/voices"
    settings = load(None, {"VOICEKEEPER_DATABASE__URL": url})
    database = database_of(settings)
    with pytest.raises(DatabaseAway) as away:
        database.exists()
    said = [str(away.value), repr(away.value), database.place, repr(settings), repr(vars(database))]
    assert [words for words in said if PASSWORD in words] == []
    assert str(settings._asdict()).count(PASSWORD) == 0
    assert SecretStr(PASSWORD) in settings.secrets({})
    database.close()


def test_a_database_that_there_is_not_is_no_matter_of_waiting(cluster: Cluster) -> None:
    missing = PostgresDatabase(cluster.url("nowhere"))
    with pytest.raises(DatabaseUnusable, match=r"does not let us in .*does not exist"):
        missing.exists()


def test_without_its_driver_the_setting_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'psycopg\[binary\]>=3\.2,<4'"):
        load(None, {"VOICEKEEPER_DATABASE__URL": "postgresql+psycopg://me@h/d"})


@pytest.fixture
def cli(cluster: Cluster, tmp_path: Path) -> CommandLine:
    return CommandLine(
        tmp_path / "unused.db", environ={"VOICEKEEPER_DATABASE__URL": cluster.empty()}
    )


def test_the_commands_work_on_it_as_on_a_file(cli: CommandLine) -> None:
    assert cli("add", "id-anna", "--name", "anna").code == 0
    assert cli("resolve", "anna").out == "id-anna\n"
    assert '"name": "anna"' in cli("list", "--json").out
    assert cli("show", "anna").code == 0
    assert cli("history", "anna").code == 0
    exported = cli("export")
    assert cli("remove", "anna").code == 0
    assert cli("import", "-", stdin=exported.out.encode()).code == 0
    assert cli("resolve", "anna").out == "id-anna\n"


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_copies_are_left_to_the_servers_own_tools(cli: CommandLine, command: str) -> None:
    ended = cli(command, "copy.db")
    assert ended.code == 2
    assert "pg_dump" in " ".join(ended.err.split())


def test_status_names_the_keepers_that_live(cli: CommandLine, database: PostgresDatabase) -> None:
    register(database, imported("anna", last_used_at=NOW))
    for name in ("1@a", "2@b"):
        Keeper(database, name).claim()
    assert cli("status", "--json").json["keepers"] == ["1@a", "2@b"]
    assert "  2 keepers: 1@a, 2@b\n" in cli("status").out


def test_check_tells_of_the_server(cli: CommandLine) -> None:
    out = " ".join(cli("check", environ={"VOICEKEEPER_API_KEY": "sk-test"}).out.split())
    assert "answers (PostgreSQL " in out
    assert "ok backup left to the server's own tools, such as pg_dump" in out


def test_a_registry_that_is_not_there_yet_is_told_of(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.without_tables()
    cli = CommandLine(tmp_path / "unused.db", environ={"VOICEKEEPER_DATABASE__URL": url})
    ended = cli("resolve", "anna")
    assert ended.code == NotFound.exit_code
    assert "there is no registry in the PostgreSQL database" in " ".join(ended.err.split())


def test_a_keeper_whose_clock_is_not_the_servers_does_not_begin(database: PostgresDatabase) -> None:
    now = SystemClock().now()
    with database.held(now + 4 * SECOND):
        pass
    for wrong, way in ((HOUR + MINUTE, "1 h ahead of that"), (-HOUR, "1 h behind that")):
        with pytest.raises(VoicekeeperError, match=way), database.held(now + wrong):
            pass


def test_a_clock_that_was_set_back_makes_every_voice_due_but_not_for_the_others(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna", last_used_at=NOW))
    first, second = Keeper(database, "1@here"), Keeper(database, "2@here")
    for keeper in (first, second, first, second):
        keeper.claim()
    ahead = NOW + 48 * HOUR
    assert first.claim(ahead).calls == []
    assert second.claim(NOW + SECOND).calls == []
    assert [job.name for job in first.claim(NOW + SECOND).calls] == ["anna"]
