"""A registry on a PostgreSQL server: made once, shared by keepers, lost and found again."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlmodel import SQLModel, select

from tests.command import CommandLine
from tests.daemon_support import Daemon, until
from tests.postgres import Cluster
from tests.support import HOUR, MINUTE, NOW, SECOND, at_once, imported, policy, wanted
from voicekeeper.cli.session import database_of
from voicekeeper.config import load
from voicekeeper.core import transitions
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.enums import SCHEMA
from voicekeeper.core.models import Active, Kind, LedgerEntry, Status, Tally, Task, TaskState, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Report
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.transitions import Transition
from voicekeeper.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseUnusable,
    NotActive,
    NotFound,
    VoicekeeperError,
)
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.store import claims, jobs
from voicekeeper.store.jobs import Answer, Claims, Job, Rule
from voicekeeper.store.postgres import PostgresDatabase
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.worklist import Worklist

pytestmark = pytest.mark.postgres

POLICY = policy()
LONGEST_CALL = POLICY.longest_call
SILENCE = POLICY.silence
Row = TypeVar("Row", bound=SQLModel)
PASSWORD = "pass-of-nobody"
OLDER = Path(__file__).parents[1] / "registry_0004.sql"


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


def register(database: PostgresDatabase, *voices: NewVoice) -> None:
    Registry(database).register(voices, now=NOW, policy=POLICY)


def rows(database: PostgresDatabase, table: type[Row]) -> list[Row]:
    with database.reading() as session:
        return list(session.scalars(select(table)))


def by(rule: Callable[..., Transition], answer: object, now: datetime = NOW) -> Rule:
    """Return a rule that lacks but the rows."""

    def decide(voice: Voice | None, task: Task) -> Transition:
        return rule(voice, task, answer, now=now, policy=POLICY)

    return decide


class Keeper:
    """A keeper's side of the store; it takes over at once, unless told not to."""

    def __init__(self, database: PostgresDatabase, name: str, begun: datetime = NOW) -> None:
        self.name = name
        self.worklist = Worklist(database)
        self.take_over(begun)

    def take_over(self, now: datetime = NOW) -> None:
        self.worklist.take_over(keeper=self.name, version="1", now=now, policy=POLICY)

    def claim(self, now: datetime = NOW, *, calls: int = 100) -> Claims:
        return self.worklist.claim(now=now, policy=POLICY, calls=calls, polls=100)


def let_silence_pass(database: PostgresDatabase) -> None:
    """Let the active keeper have given no sign of life for as long as makes it count as dead."""
    with database.writing() as session:
        active = session.get_one(Active, 1)
        assert active.beat is not None
        active.beat -= SILENCE + SECOND


def successor(database: PostgresDatabase, name: str = "2@here", begun: datetime = NOW) -> Keeper:
    """Return the keeper that took over from one that is silent."""
    let_silence_pass(database)
    return Keeper(database, name, begun)


@pytest.fixture
def frozen(database: PostgresDatabase) -> tuple[Keeper, Job, Keeper]:
    """A keeper that froze in an enrollment, that enrollment, and the keeper that gave it up."""
    register(database, wanted("anna"))
    first = Keeper(database, "1@here")
    job = first.worklist.intend(first.claim().calls[0], now=NOW, policy=POLICY)
    second = successor(database)
    second.claim(NOW + LONGEST_CALL)
    assert Registry(database).get("anna").status is Status.UNKNOWN
    return first, job, second


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[PostgresDatabase, PostgresDatabase]]:
    """One registry, as two programs see it."""
    url = cluster.empty()
    one, other = PostgresDatabase(url), PostgresDatabase(url)
    yield one, other
    one.close()
    other.close()


Pair = tuple[PostgresDatabase, PostgresDatabase]


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
    with bare._engine.begin() as connection:  # noqa: SLF001 - nothing of ours is there yet
        config = Config()
        config.set_main_option("script_location", "voicekeeper.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for row in rows:
            connection.exec_driver_sql(row.replace("%", "%%"))
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
    assert at_once(*[partial(bare.prepare, upgrade=True)] * 4) == []
    assert bare.schema() == SCHEMA


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
        session.connection().exec_driver_sql(statement)
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
    fault = Fault(Culprit.UPSTREAM, "500", "no\0words")
    keeper.worklist.record([Answer(job, by(transitions.refused, fault), NOW, POLICY)])
    (task,) = rows(database, Task)
    assert task.message == "no\ufffdwords"


# who is the active one


def test_six_started_in_one_moment_are_one_active_keeper_and_five_that_stand_by(
    cluster: Cluster,
) -> None:
    url = cluster.empty()
    databases = [PostgresDatabase(url) for _ in range(6)]
    errors = at_once(*(partial(Keeper, each, f"{n}@here") for n, each in enumerate(databases)))
    assert [type(error) for error in errors] == [NotActive] * 5
    assert len(Registry(databases[0]).health(now=NOW, policy=POLICY).keepers) == 6
    for each in databases:
        each.close()


def test_who_stands_by_takes_over_when_the_active_one_is_silent_and_not_before(
    database: PostgresDatabase,
) -> None:
    first = Keeper(database, "1@here")
    with pytest.raises(NotActive):
        Keeper(database, "2@here")
    let_silence_pass(database)
    first.claim()  # which was slow, and lives
    with pytest.raises(NotActive):
        Keeper(database, "2@here")
    second = successor(database)
    assert second.claim().calls == []
    assert list(Registry(database).health(now=NOW, policy=POLICY).keepers) == ["2@here"]


def test_one_that_leaves_is_followed_at_once(database: PostgresDatabase) -> None:
    registry, tick = Registry(database), timedelta(seconds=10)
    first = Keeper(database, "1@here")
    assert registry.keeping().runs is False  # it has made no pass
    first.claim()
    assert registry.keeping().runs is None
    assert not registry.keeping().is_missing(now=NOW, tick=tick)
    first.worklist.leave(keeper="1@here")
    assert registry.keeping().runs is False
    assert registry.keeping().is_missing(now=NOW, tick=tick)
    second = Keeper(database, "2@here")
    second.claim()
    first.worklist.leave(keeper="1@here")  # which is no business of the one that left
    assert registry.keeping().runs is None


def test_one_that_stood_by_and_ended_is_named_no_more(database: PostgresDatabase) -> None:
    Keeper(database, "1@here")
    idle = Worklist(database)
    with pytest.raises(NotActive):
        idle.take_over(keeper="2@here", version="1", now=NOW, policy=POLICY)
    idle.leave(keeper="2@here")
    assert list(Registry(database).health(now=NOW, policy=POLICY).keepers) == ["1@here"]


def test_run_once_beside_an_active_keeper_is_to_try_again_and_stands_not_by(
    database: PostgresDatabase,
) -> None:
    Keeper(database, "1@here")
    with pytest.raises(NotActive):
        Worklist(database).take_over(
            keeper="2@here", version="1", now=NOW, policy=POLICY, once=True
        )
    assert list(Registry(database).health(now=NOW, policy=POLICY).keepers) == ["1@here"]


def test_a_deposed_keeper_writes_no_intent(database: PostgresDatabase) -> None:
    register(database, imported("anna"), wanted("bert"))
    deposed = Keeper(database, "1@here")
    enrollment = next(job for job in deposed.claim().calls if job.task_pk is None)
    second = successor(database)
    before = rows(database, Task)
    for attempt in (
        deposed.claim,
        lambda: deposed.worklist.intend(enrollment, now=NOW, policy=POLICY),
    ):
        with pytest.raises(NotActive, match="2@here is the active keeper"):
            attempt()
    assert rows(database, Task) == before
    assert [job.name for job in second.claim().calls] == ["anna", "bert"]


def test_a_command_waits_for_a_pass_and_has_the_last_word(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pause` between what a pass reads and what it writes."""
    keeping, commanding = pair
    register(keeping, imported("anna"))
    keeper, claimed = Keeper(keeping, "1@here"), list[Job]()
    has_read, is_paused = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> list[Job]:  # noqa: ANN401 - all that it takes
        has_read.set()
        assert not is_paused.wait(0.3)
        return jobs.write_intents(*given, **more)

    def pause() -> None:
        assert has_read.wait(30)
        Registry(commanding).pause("anna", now=NOW)
        is_paused.set()

    monkeypatch.setattr(claims, "write_intents", slow)
    assert at_once(lambda: claimed.extend(keeper.claim().calls), pause) == []
    (job,) = claimed
    submitted = by(partial(transitions.submitted, cost_micros=60), Accepted("task_1"))
    keeper.worklist.record([Answer(job, submitted, NOW, POLICY)])
    voice = Registry(keeping).get("anna")
    assert (voice.paused, voice.next_at) == (True, None)


def test_a_keeper_and_commands_in_each_others_way_wait_and_fail_none(pair: Pair) -> None:
    """While calls fail, open breakers and are probed, each wants the same rows."""
    keeping, commanding = pair
    names = [f"v{n}" for n in range(40)]
    register(keeping, *map(imported, names))
    keeper, answered = Keeper(keeping, "1@here"), Counter[str]()
    trouble, chance = Fault(Culprit.UPSTREAM, "500", "server error"), random.Random(1)

    def keep() -> None:
        for number in range(60):
            now = NOW + number * 60 * SECOND
            for job in keeper.claim(now, calls=4).calls:
                well = by(transitions.reported, Report("success"), now)
                answer = well if chance.random() < 0.3 else by(transitions.refused, trouble, now)
                keeper.worklist.record([Answer(job, answer, now, POLICY)])
                answered[job.kind] += 1

    def command() -> None:
        for name in names * 3:
            Registry(commanding).pause(name, now=NOW)
            Registry(commanding).resume(name, now=NOW, policy=POLICY)

    assert at_once(keep, command) == []
    assert answered[Kind.KEEPALIVE] > 5
    assert answered[Kind.CONTROL] > 1


# what a dead keeper leaves


def test_an_enrollment_of_a_dead_keeper_is_left_to_a_person(database: PostgresDatabase) -> None:
    register(database, wanted("anna"))
    dying = Keeper(database, "1@here")
    dying.worklist.intend(dying.claim().calls[0], now=NOW, policy=POLICY)
    living = successor(database)
    early = living.claim(NOW + LONGEST_CALL - SECOND)
    assert Registry(database).get("anna").status is Status.NEW
    late = living.claim(NOW + LONGEST_CALL)
    assert Registry(database).get("anna").status is Status.UNKNOWN
    assert [*early.calls, *late.calls] == []
    assert [line.event for line in late.lines] == ["enrollment.failed", "voice.status_changed"]


def test_the_answer_to_an_enrollment_counts_though_its_keeper_was_taken_for_dead(
    database: PostgresDatabase, frozen: tuple[Keeper, Job, Keeper]
) -> None:
    first, job, second = frozen
    late = NOW + LONGEST_CALL + MINUTE
    submitted = by(partial(transitions.submitted, cost_micros=1), Accepted("task_1"), late)
    first.worklist.record([Answer(job, submitted, late, POLICY)])
    voice = Registry(database).get("anna")
    assert (voice.status, voice.failures, voice.last_error) == (Status.DEPLOYING, 0, None)
    (task,) = rows(database, Task)
    assert (task.state, task.task_id, task.code) == (TaskState.RUNNING, "task_1", None)
    (poll,) = second.claim(late + HOUR).polls
    assert poll.task_id == "task_1"
    assert {tally.ended for tally in rows(database, Tally)} == {0}
    assert sum(entry.possible_cost_micros for entry in rows(database, LedgerEntry)) == 0


def test_a_late_answer_to_an_enrollment_that_was_asked_for_again_changes_nothing(
    database: PostgresDatabase, frozen: tuple[Keeper, Job, Keeper]
) -> None:
    first, job, second = frozen
    late = NOW + LONGEST_CALL + MINUTE
    Registry(database).retry("anna", now=late)
    again = second.worklist.intend(second.claim(late).calls[0], now=late, policy=POLICY)
    before = [task.model_dump() for task in rows(database, Task)]
    submitted = by(partial(transitions.submitted, cost_micros=1), Accepted("task_1"), late)
    assert first.worklist.record([Answer(job, submitted, late, POLICY)]) == [[]]
    assert [task.model_dump() for task in rows(database, Task)] == before
    second.worklist.record([Answer(again, submitted, late, POLICY)])
    assert Registry(database).get("anna").status is Status.DEPLOYING


def test_a_keepalive_of_a_dead_keeper_is_made_again_once_its_call_must_be_over(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna"))
    (job,) = Keeper(database, "1@here").claim().calls
    living = successor(database)
    assert [each.name for each in living.claim(NOW + LONGEST_CALL).calls] == ["anna"]
    first, second = sorted(rows(database, Task), key=lambda task: task.id or 0)
    assert (first.state, second.state) == (TaskState.UNKNOWN, TaskState.INTENT)
    late = NOW + LONGEST_CALL + MINUTE
    used = by(transitions.reported, Report("success"), late)
    living.worklist.record([Answer(job, used, late, POLICY)])
    voice = Registry(database).get("anna")
    assert (voice.status, voice.last_used_at) == (Status.OK, NOW)  # a use is a use


def test_a_keeper_frozen_in_a_transaction_holds_nobody_up_for_long(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.store.postgres._FROZEN_S", 0.3)
    frozen, other = pair
    register(frozen, imported("anna"))

    def freeze() -> None:
        with frozen.writing() as session:
            session.connection().exec_driver_sql("UPDATE voice SET failures = 7")
            Registry(other).pause("anna", now=NOW)  # waits for the server to end that
            session.connection().exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseAway):
        freeze()
    voice = Registry(frozen).get("anna")
    assert (voice.paused, voice.failures) == (True, 0)


# a server that is gone


def test_a_server_that_comes_back_is_used_again(restartable: Cluster) -> None:
    database = PostgresDatabase(restartable.empty())
    registry = Registry(database)
    register(database, imported("anna"))
    restartable.stop()
    for _ in range(2):
        with pytest.raises(DatabaseAway, match=r"does not answer .* nothing is lost") as lost:
            registry.get("anna")
        assert lost.value.exit_code == 75
    restartable.start()
    assert registry.get("anna").name == "anna"
    restartable.stop()
    restartable.start()  # while nobody asks, it is not even noticed
    assert registry.get("anna").name == "anna"
    database.close()


def test_a_daemon_that_loses_its_database_says_so_once_and_goes_on(
    restartable: Cluster, tmp_path: Path
) -> None:
    url = restartable.empty()
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
            restartable.stop()
            daemon.await_event("pass.failed")
            until(lambda: cli.process("status").code == 3, "nobody can tell")
            restartable.start()
            seen = Registry(database).keeping().last_pass_at
            until(lambda: Registry(database).keeping().last_pass_at != seen, "a pass")
            assert len(daemon.told("pass.failed")) == 1, daemon.told("pass.failed")
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


def test_status_names_the_active_keeper_and_those_that_stand_by(
    cli: CommandLine, database: PostgresDatabase
) -> None:
    register(database, imported("anna", last_used_at=NOW))
    Keeper(database, "1@a").claim()
    for name in ("2@b", "3@c"):
        with pytest.raises(NotActive, match="1@a is the active keeper") as stands_by:
            Keeper(database, name)
        assert (stands_by.value.keeper, stands_by.value.exit_code) == ("1@a", 75)
    told = cli("status", "--json").json
    assert (told["keeper"], told["keepers"]) == ("1@a", ["1@a", "2@b", "3@c"])
    assert "  kept by 1@a; standing by: 2@b, 3@c\n" in cli("status").out


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


def test_a_start_on_a_copy_of_the_database_leaves_what_waits_in_it_to_a_person(
    cluster: Cluster, database: PostgresDatabase
) -> None:
    keeper = Keeper(database, "a")
    register(database, imported("anna"), wanted("made"))
    keeper.claim(calls=0)
    keeper.worklist.leave(keeper="a")
    database.close()
    copy = PostgresDatabase(cluster.copied(database))
    Keeper(database, "a", NOW + MINUTE)
    assert {row.name: row.status for row in rows(database, Voice)} == {
        "anna": Status.NEW,
        "made": Status.NEW,
    }
    for _ in range(2):
        Keeper(copy, "a", NOW + MINUTE).worklist.leave(keeper="a")
        assert {row.name: row.status for row in rows(copy, Voice)} == {
            "anna": Status.NEW,
            "made": Status.UNKNOWN,
        }
    copy.close()


def test_a_shorter_interval_of_the_next_keeper_makes_every_voice_due(
    database: PostgresDatabase,
) -> None:
    register(database, imported("anna", last_used_at=NOW))
    longer = policy(interval=POLICY.interval * 2)
    patient = Worklist(database)
    patient.take_over(keeper="1@here", version="1", now=NOW, policy=longer)
    with database.writing() as session:
        session.scalars(select(Voice)).one().next_at = NOW + POLICY.interval * 1.5
    hasty = successor(database)
    assert [job.name for job in hasty.claim().calls] == ["anna"]


def test_one_keeper_is_active_and_the_others_stand_by(database: PostgresDatabase) -> None:
    Keeper(database, "1@here")
    for name in ("2@here", "3@here"):
        with pytest.raises(NotActive, match="1@here is the active keeper") as stands_by:
            Keeper(database, name)
        assert (stands_by.value.keeper, stands_by.value.exit_code) == ("1@here", 75)
    health = Registry(database).health(now=NOW, policy=POLICY)
    assert list(health.keepers) == ["1@here", "2@here", "3@here"]
