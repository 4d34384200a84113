"""What goes wrong between a gateway and its client, as values with a short written form.

``KIND[:OPTION=N][=RATE][@CALL]``, for example ``500``, ``429:retry-after=2``, ``lost=0.1@submit``.

========================  =======================================================  ==========
KIND                      what the client meets                                    work done?
========================  =======================================================  ==========
``400`` to ``599``        that HTTP status, with a JSON body                       no
``body-400`` to ``-599``  HTTP 200 with that ``code`` in the JSON body             no
``drop``                  the connection closes without an answer                  no
``hang``                  no answer, until the client leaves                       no
``html``                  HTTP 200 with a page for people                          no
``lost``                  the connection closes without an answer                  yes
``garbage``               HTTP 200 with bytes that are no JSON                     yes
``truncated``             the answer's first half, then the connection closes      yes
``task-CODE``             the task is accepted and fails with this fail code       yes
========================  =======================================================  ==========

OPTION goes with a status: ``retry-after`` in seconds, or ``retry-after-date``, the same as an HTTP
date. RATE is a share of the calls, 0 to 1, all if not given. CALL is ``submit``, ``status`` or
``balance``; a fault without one strikes every call.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from voicekeeper.errors import InvalidInput

Call = Literal["submit", "status", "balance"]

_SPEC = re.compile(
    r"(?P<kind>(?P<body>body-)?(?P<code>[45]\d\d)|task-(?P<doom>\w+)"
    r"|drop|hang|html|lost|garbage|truncated)"
    r"(:(?P<option>retry-after(-date)?)=(?P<wait>\d+))?"
    r"(=(?P<rate>\d+(\.\d+)?))?(@(?P<call>submit|status|balance))?",
    re.ASCII,
)
_WRITTEN = (
    "KIND[:retry-after=N][=RATE][@submit|@status|@balance], "
    "such as 500, 429:retry-after=2, lost=0.1"
)


class Fault(NamedTuple):
    """One way to go wrong.

    Attributes:
        spec: its written form, of which ``kind`` is the first part.
        doom: the fail code of a ``task-CODE``.
        retry_after: in seconds; ``as_date`` it is sent as an HTTP date.
        rate: the share of the calls it strikes, 0 to 1.
        call: the only call it strikes; None for all.
    """

    spec: str
    kind: str
    code: int | None = None
    in_body: bool = False
    doom: str | None = None
    retry_after: int | None = None
    as_date: bool = False
    rate: float = 1.0
    call: Call | None = None

    @property
    def spares_the_work(self) -> bool:
        """Whether the gateway does the work, and charges for it, before the fault strikes."""
        return self.doom is not None or self.kind in ("lost", "garbage", "truncated")


def parse(spec: str) -> Fault:
    """Read a fault's written form.

    Raises:
        InvalidInput: it is none.
    """
    read = _SPEC.fullmatch(spec.strip())
    if read is None:
        raise InvalidInput(f"a fault is {_WRITTEN}; {spec!r} is not")
    if read["option"] and not read["code"]:
        raise InvalidInput(f"only a status such as 429 takes {read['option']}; {spec!r} is none")
    rate = float(read["rate"] or 1)
    if rate > 1:
        raise InvalidInput(f"the rate of a fault is a share from 0 to 1, not {read['rate']}")
    call = cast("Call | None", read["call"])
    if read["doom"]:
        if call not in (None, "submit"):
            raise InvalidInput(f"a task fails by its submit call, so {spec!r} would never strike")
        call = "submit"
    return Fault(
        spec=spec.strip(),
        kind=read["kind"],
        code=int(read["code"]) if read["code"] else None,
        in_body=bool(read["body"]),
        doom=read["doom"],
        retry_after=int(read["wait"]) if read["wait"] else None,
        as_date=read["option"] == "retry-after-date",
        rate=rate,
        call=call,
    )


class Faults:
    """The faults in force, the dice that say when one strikes, and how often each ``struck``."""

    def __init__(self, specs: Iterable[str], rng: random.Random) -> None:
        self._rng = rng
        self._faults: tuple[Fault, ...] = ()
        self.struck: Counter[str] = Counter()
        self.replace(specs)

    def replace(self, specs: Iterable[str]) -> None:
        """Put other faults in force; none of them, if one cannot be read.

        Raises:
            InvalidInput: a written form is none.
        """
        self._faults = tuple(parse(spec) for spec in specs)

    def choose(self, call: Call) -> Fault | None:
        """Return the first fault that strikes this call, or None."""
        for fault in self._faults:
            if fault.call in (None, call) and self._rng.random() < fault.rate:
                self.struck[fault.spec] += 1
                return fault
        return None
