"""A function of many items, worked out ahead in threads, in the order of the items."""
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def map_ahead(function: Callable[[Any], Any], items: Iterable, workers: int, ahead: int,
              weight: Callable[[Any], int] = lambda item: 0, most: int = 0) -> Iterator[tuple[Any, Any]]:
    """(item, function of it) of every item; no more than ``ahead`` of them wait in memory.

    Args:
        function (Callable): Its errors are raised here, when it is the item's turn.
        items (Iterable): Taken one by one in this thread.
        workers (int): Threads; 0 works without any, and not ahead.
        ahead (int): Items that are begun before the first of them is asked for.
        weight (Callable): Of an item; heavy ones wait for each other. Defaults to 0 of each.
        most (int): Sum of the weights of those that are begun, beyond which no other is. Defaults to 0.
    """
    if not workers:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[Any, Future]] = deque()
    pool = ThreadPoolExecutor(workers)
    begun = 0
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            begun += weight(item)
            while waiting and (len(waiting) > ahead or begun > most or waiting[0][1].done()):
                item, future = waiting.popleft()
                begun -= weight(item)
                yield item, future.result()
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
