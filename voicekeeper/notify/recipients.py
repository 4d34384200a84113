"""The recipients of an address, each of which takes its messages, or does not, for itself."""

from collections.abc import Callable
from typing import Any, Final

_MENTIONING: Final = ("DingTalk", "Mastodon", "Twitter")
"""Services that mention all recipients in one message, which they still count."""


def recipients(service: Any, add: Callable[[], object]) -> list[Any]:  # noqa: ANN401 - optional
    """Return apprise's services for an address, one for each recipient.

    A service counts its recipients, and keeps them in lists of whatever name: those that make it
    count less when they are empty. One that sends to many by one call stays as it is.

    Args:
        service: apprise, to which the address was added.
        add: adds it again.
    """

    def fresh(place: int) -> Any:  # noqa: ANN401 - optional
        service.clear()
        add()
        return list(service)[place]

    found = []
    for place in range(len(list(service))):
        lists = _lists(fresh(place))
        for name, one in [(name, one) for name, value in lists.items() for one in value]:
            single = fresh(place)
            vars(single).update({key: [one] if key == name else [] for key in lists})
            found.append(single)
        if not lists:
            found.append(fresh(place))
    return found


def _lists(service: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - optional
    """Return the lists of a service's recipients by name; none where they cannot be told apart."""
    lists: dict[str, list[Any]] = {}
    count = len(service)
    for name, value in [*vars(service).items()]:
        if isinstance(value, list) and value:
            setattr(service, name, [])
            if len(service) < count:
                lists[name] = value
            setattr(service, name, value)
    tries = service.retry + 1
    is_whole = sum(map(len, lists.values())) * tries == count
    return lists if is_whole and service.service_name not in _MENTIONING else {}
