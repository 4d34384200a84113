"""What the garbage collector need not look at."""

import gc


def settle() -> None:
    """Take every object that there is now as one that stays.

    Imports leave a hundred thousand. A full collection looks at each: that stops a keeper, and
    all its calls, for 50 ms, where it takes less than one without them.
    """
    gc.collect()
    gc.freeze()
