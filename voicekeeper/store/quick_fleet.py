"""Quick reads of the fleet as a whole: its order, its health, and what was spent on it."""

# ruff: noqa: S608 - queries are made of constants, and what is given is bound

from datetime import datetime, timedelta

from voicekeeper.core import alerting, costs
from voicekeeper.core.costs import Spent, Totals
from voicekeeper.core.enums import BreakerFacts, Status, VoiceFacts
from voicekeeper.core.health import NAMED, SHOWN_NAMES, Health, late_before, named
from voicekeeper.core.schedule import Policy
from voicekeeper.store.quick import QuickVoices, instant, text, whole

_LIVING = "status IN ('NEW', 'DEPLOYING', 'OK')"
_KEPT = f"(paused IS 0 AND {_LIVING})"
_AT_RISK = f"""anchored_at < :risky AND next_at IS NOT NULL AND voice_id IS NOT NULL AND {_LIVING}
    AND NOT (next_at BETWEEN :now AND :soon AND failures = 0 AND EXISTS (
        SELECT 1 FROM task WHERE task.voice_pk = voice.id AND task.state = 'success'
            AND task.sent_at BETWEEN :risky AND :now))"""
"""As `store.alerts.AT_RISK` has it."""

_OVERDUE = f"""{_KEPT} AND next_at IS NOT NULL AND (next_at < :late OR
    (failures > 0 OR id IN (SELECT voice_pk FROM task WHERE state IN ('intent', 'running')))
    AND EXISTS (
        SELECT 1 FROM task WHERE voice_pk = voice.id AND state <> 'success'
            AND sent_at BETWEEN anchored_at AND :late AND NOT EXISTS (
                SELECT 1 FROM task AS newer WHERE newer.voice_pk = voice.id
                    AND newer.id > task.id AND newer.state = 'success')))"""
"""As `store.registry` has it."""

_REFUSED = f"{_KEPT} AND status = 'NEW' AND voice_id IS NULL AND held_at IS NULL AND failures > 0"


class QuickFleet(QuickVoices):
    """The voices of a registry's file as a whole."""

    def by_urgency(self, *, now: datetime, policy: Policy) -> list[VoiceFacts]:
        """Return every voice: the kept by their deadlines, then those that need a person."""
        named = ", ".join(f"status <> '{status}'" for status in NAMED)
        return self.in_order(
            f"""{_KEPT} DESC, CASE WHEN {_KEPT} THEN anchored_at <= :over END,
                CASE WHEN {_KEPT} THEN anchored_at END, {named}, name""",
            over=now - policy.window,
        )

    def blocked(self) -> list[BreakerFacts]:
        """Return the breakers that are open."""
        return self.rows("breaker", "WHERE opened_at IS NOT NULL ORDER BY model")

    def health(self, *, now: datetime, policy: Policy) -> Health:
        """Return what there is to say about the fleet as a whole."""
        late, over = late_before(now, policy), now - policy.window
        risk = {
            "now": now,
            "risky": alerting.risky_before(now, policy),
            "soon": now + policy.interval,
        }
        by_status = self.ask("SELECT status, count(*) FROM voice GROUP BY status")
        (active,) = self.rows("active", "WHERE id = 1")
        lives = active.beat is not None and active.beat > now - policy.silence
        balance = self.rows("balance", "WHERE id = 1")
        due = f"{_LIVING} AND next_at IS NOT NULL"
        soonest = self.ask(f"SELECT next_at FROM voice WHERE {due} ORDER BY next_at LIMIT 1")
        return Health(
            by_status={Status(status): count for status, count in by_status},
            paused=self._count(f"paused IS 1 AND {_LIVING}"),
            overdue=(overdue := self._count(_OVERDUE, late=late)),
            late=self._urgent(_OVERDUE, over=over, late=late) if overdue else [],
            at_risk=self._count(_AT_RISK, **risk),
            risky=self._urgent(_AT_RISK, over=over, **risk),
            refused=(refused := self._count(_REFUSED)),
            waiting=self._some(Status.NEW, _REFUSED) if refused else [],
            last_pass_at=active.last_pass_at,
            keeper=active.keeper,
            once=active.once,
            runs=self.is_held(),
            names={status: self._some(status, f"status = '{status}'") for status in NAMED},
            blocked=self.blocked(),
            balance=balance[0] if balance else None,
            held=self._count(f"{_KEPT} AND held_at IS NOT NULL AND next_at IS NOT NULL"),
            held_for_good=self._count(f"{_KEPT} AND held_at IS NOT NULL AND next_at IS NULL"),
            next_at=instant(soonest[0][0]) if soonest else None,
            keepers=[active.keeper] if lives else [],
        )

    def totals(self, *, now: datetime) -> Totals:
        """Return what all tasks, those of removed voices too, should have cost."""
        today = costs.utc_day(now)
        return Totals(
            today=self._spent("day = :today", today=today),
            last_30_days=self._spent("day > :before", before=today - timedelta(days=30)),
            ever=self._spent("TRUE"),
        )

    def _count(self, condition: str, **given: object) -> int:
        ((count,),) = self.ask(f"SELECT count(*) FROM voice WHERE {condition}", **given)
        return int(count)

    def _urgent(self, condition: str, *, over: datetime, **at: datetime) -> list[str]:
        order = f"anchored_at <= :over, anchored_at, name LIMIT {SHOWN_NAMES}"
        query = f"SELECT name FROM voice WHERE {condition} ORDER BY {order}"
        return [text(name) for (name,) in self.ask(query, over=over, **at)]

    def _some(self, status: Status, condition: str) -> list[str]:
        rest = f"WHERE {condition} ORDER BY name LIMIT {SHOWN_NAMES}"
        return [
            named(text(name), status, None if error is None else text(error))
            for name, error in self.ask(f"SELECT name, last_error FROM voice {rest}")
        ]

    def _spent(self, condition: str, **given: object) -> Spent:
        sums = "coalesce(sum(cost_micros), 0), coalesce(sum(possible_cost_micros), 0)"
        ((cost, possible),) = self.ask(f"SELECT {sums} FROM ledger WHERE {condition}", **given)
        return Spent(whole(cost), whole(possible))
