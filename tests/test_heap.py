"""What the garbage collector is spared."""

import gc

from voicekeeper import heap


def test_the_collector_passes_over_all_that_there_was_and_still_takes_what_comes() -> None:
    gc.unfreeze()
    there = len(gc.get_objects())
    try:
        heap.settle()
        assert gc.get_freeze_count() > there / 2
        assert len(gc.get_objects()) < there / 10
        ring: list[object] = []
        ring.append(ring)
        del ring
        assert gc.collect() > 0
    finally:
        gc.unfreeze()
