"""What a registry that was put back from a copy still has to tell, and what no more.

The copy knows nothing of what people were told since. So what it had to tell of its own time is
let go; what may hold still is looked at anew, and told as if it began: once, and then daily.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col

from voicekeeper import alerting
from voicekeeper.models import Alert, AlertKind, Message, Topic
from voicekeeper.schedule import Policy
from voicekeeper.store.session import Session

_LASTING = col(Alert.kind).in_((AlertKind.LOST, AlertKind.UNDEPLOYED))
"""What no pass mends by itself."""

_ALERTED = {Topic(kind) for kind in AlertKind}


def fall(session: Session, *, now: datetime, policy: Policy) -> None:
    """Let go of what a copy has to tell, as far as its voices do not tell it again.

    A risk is a matter of time: each that is there still is found by the next look. Paused calls
    may flow since; they have as long to show it as a risk has. A voice that is gone has been told
    of, and is again a day from now; but if nobody was, then now.

    Args:
        session: a writing one, on the copy.
        now: of the restore.
        policy: the settings.
    """
    alert, message = sa.update(Alert), sa.update(Message)
    waits = col(Message.send_at).is_not(None)
    unheard = sa.select(col(Message.topic)).where(waits).distinct()
    topics = set(session.scalars(unheard))
    session.execute(message.where(waits).values(send_at=None))
    last_digest = sa.select(sa.func.max(col(Message.id))).where(col(Message.topic) == Topic.DIGEST)
    session.execute(  # the next one is of a week that this registry saw
        message.where(col(Message.id) == last_digest.scalar_subquery()).values(made_at=now)
    )
    session.execute(
        sa.delete(Alert).where(col(Alert.kind).in_((AlertKind.ENROLLMENT, AlertKind.RISK)))
    )
    session.execute(
        alert.where(col(Alert.ended_at).is_not(None)).values(tell_at=None, send_at=None)
    )
    is_open = col(Alert.ended_at).is_(None)
    later = now + alerting.grace(policy)
    session.execute(
        alert.where(is_open, col(Alert.kind) == AlertKind.BLOCKED).values(
            told=0, tell_at=later, send_at=later, sent_at=None
        )
    )
    tomorrow = now + alerting.AGAIN
    session.execute(alert.where(is_open, _LASTING, col(Alert.told) > 0).values(tell_at=tomorrow))
    heard = col(Alert.kind).not_in([AlertKind(topic) for topic in topics & _ALERTED])
    session.execute(
        alert.where(is_open, _LASTING, col(Alert.sent_at).is_not(None), heard).values(
            send_at=tomorrow
        )
    )
    session.execute(alert.where(is_open, _LASTING, ~heard).values(**alerting.to_be_sent(now)))
