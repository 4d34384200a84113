"""Make the calls that a pass claims, and record what the gateway answers."""

from collections.abc import Callable
from functools import partial

from voicekeeper.core import costs, outcome, requests, transitions, webhook
from voicekeeper.core.events import Event, tell
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Fault
from voicekeeper.core.requests import Request, Speech
from voicekeeper.core.transitions import Transition
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.event_log import EventLog
from voicekeeper.daemon.in_flight import Flight
from voicekeeper.daemon.recorder import Recorder
from voicekeeper.errors import CallFailed, InvalidInput, VoicekeeperError, Withdrawn
from voicekeeper.store.jobs import Answer, Job


class Calls:
    """Makes calls for one keeper.

    Args:
        context: of the keeper.
        events: where answers are logged.
        is_active: returns whether this keeper may begin calls.
        callbacks: how the gateway is to call when an enrollment has ended; None to poll only.

    Attributes:
        recorder: writes the answers down.
        key_refused: whether the gateway answered 401 to any call so far.
        logged: the name of every event that an answer brought so far.
    """

    def __init__(
        self,
        context: Context,
        events: EventLog,
        *,
        is_active: Callable[[], bool],
        callbacks: Callbacks | None,
    ) -> None:
        self._context = context
        self._events = events
        self._is_active = is_active
        self._callbacks = callbacks
        self.recorder = Recorder(lambda answers: context.run(context.worklist.record, answers))
        self.key_refused = False
        self.logged: set[str] = set()

    async def submit(self, flight: Flight) -> None:
        """Make the POST whose intent is written, and record its answer.

        The intent of an enrollment is written here, at its turn.

        Raises:
            Withdrawn: it is not wanted any more; nothing was sent.
            NotActive: another keeper has taken over; nothing was sent.
            VoicekeeperError: its intent could not be written; nothing was sent.
            Exception: a bug of ours; the call is recorded as one without an answer.
        """
        context = self._context
        url, digest = self._expected_callback(flight.job)

        async def intend() -> None:
            await self._see_active()
            flight.job = await context.run(
                context.worklist.intend,
                flight.job,
                now=context.clock.now(),
                policy=context.policy,
                token_digest=digest,
            )

        async def refuse(fault: Fault) -> None:
            if flight.job.task_pk is None:  # an enrollment that failed before its turn
                await intend()
            await self._record(flight.job, transitions.refused, fault)

        try:
            request = self._request(flight.job)
            price = costs.price(flight.job.kind, context.policy.prompt)
            on_turn = intend if flight.job.kind.is_enrollment else self._see_active
            accepted = await context.gateway.submit(
                request, flight.job.model, on_turn=on_turn, callback_url=url
            )
        except InvalidInput as error:  # a recipe that another version wrote
            await refuse(Fault(Culprit.REQUEST, "invalid", str(error)))
        except CallFailed as failure:
            self._note_key(failure)
            job = flight.job
            await refuse(outcome.of_submission(job.kind, failure, refusals=job.refusals))
        except VoicekeeperError:
            raise  # nothing was sent
        except Exception as error:
            # Nobody knows whether the call was made, but that none is made before its intent.
            words = f"voicekeeper failed in the middle of the call ({type(error).__name__})"
            may_be_sent = flight.job.task_pk is not None
            await refuse(Fault(Culprit.NOBODY, "error", words, ambiguous=may_be_sent))
            raise
        else:
            submitted = partial(transitions.submitted, cost_micros=price)
            await self._record(flight.job, submitted, accepted)

    async def poll(self, flight: Flight) -> None:
        """Ask for a task, and record the report."""
        job = flight.job
        assert job.task_id is not None  # noqa: S101 - a running task has one, by constraint
        fields: dict[str, object] = {"name": job.name, "task_id": job.task_id}
        try:
            report = await self._context.gateway.status(job.task_id, job.model)
        except CallFailed as failure:
            self._note_key(failure)
            tell(self._context.log, Event.TASK_POLLED, **fields, error=str(failure))
            await self._record(job, transitions.unanswered, outcome.of_poll(failure))
        else:
            fields |= {"state": report.state, "voice_status": report.voice_status}
            tell(self._context.log, Event.TASK_POLLED, **fields)
            await self._record(job, transitions.reported, report)

    async def _see_active(self) -> None:
        """See that a call that has waited for its turn is still this keeper's to make.

        Raises:
            Withdrawn: another keeper has taken over, or this one is told to stop.
        """
        if not self._is_active():
            raise Withdrawn("this keeper makes no more calls")

    def _expected_callback(self, job: Job) -> tuple[str | None, str | None]:
        """Return the URL for the gateway to call, and the digest that is kept of its token."""
        if self._callbacks is None or not job.kind.is_enrollment:
            return None, None
        token = self._callbacks.new_token()
        return webhook.address(self._callbacks.public_url, token), webhook.digest(token)

    def _note_key(self, failure: CallFailed) -> None:
        self.key_refused |= failure.code == 401  # noqa: PLR2004 - HTTP's number

    def _request(self, job: Job) -> Request:
        if job.kind.is_enrollment:
            return requests.from_recipe(job.kind, job.recipe or {})
        policy = self._context.policy
        return Speech(job.spoken or "", policy.prompt, policy.format)

    async def _record(
        self, job: Job, transition: Callable[..., Transition], answer: object
    ) -> None:
        """Write down what an answer changes, by one of the rules of `transitions`."""
        now, policy = self._context.clock.now(), self._context.policy

        def rule(voice: Voice | None, task: Task) -> Transition:
            return transition(voice, task, answer, now=now, policy=policy)

        def failed(error: VoicekeeperError) -> None:
            paid = (
                f" ({answer.task_id} waits to be recorded)" if isinstance(answer, Accepted) else ""
            )
            self._events.failed(error, note=paid, name=job.name)

        lines = await self.recorder.record(Answer(job, rule, now, policy), failed=failed)
        self.logged.update(line.event for line in lines)
        await self._events.write_and_mark(lines)
