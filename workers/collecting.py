"""The collector of cycles, in processes that run for long."""

import gc

COLLECT_AFTER = 10_000


def keep_what_is_loaded() -> None:
    """Let the collector pass over what was imported: it stays, and going through it took a third of the time that
    judging the rows of a file takes. What is under way makes thousands of objects and next to no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
