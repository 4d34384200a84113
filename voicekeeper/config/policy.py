"""The settings that the rules need, as values."""

from voicekeeper.config.settings import Settings
from voicekeeper.core.schedule import Policy


def policy_of(settings: Settings) -> Policy:
    """Return the settings that the rules need."""
    keepalive, polling, retry = settings.keepalive, settings.polling, settings.retry
    most = settings.budget.enrollments_usd_per_day
    return Policy(
        window=keepalive.window,
        interval=keepalive.interval,
        jitter=keepalive.jitter,
        prompt=keepalive.prompt,
        format=keepalive.format,
        speech_first=polling.speech_first,
        speech_interval=polling.speech_interval,
        enrollment_first=polling.enrollment_first,
        enrollment_interval=polling.enrollment_interval,
        give_up=polling.give_up,
        retry_base=retry.base,
        retry_cap=retry.cap,
        timeout=settings.upstream.timeout,
        requests_per_second=settings.upstream.requests_per_second,
        max_in_flight=settings.upstream.max_in_flight,
        enrollments_per_day=None if most is None else int(most * 1_000_000),
        notifies=bool(settings.alerts.urls),
        tick=settings.daemon.tick,
        keep_history=settings.daemon.keep_history,
    )
