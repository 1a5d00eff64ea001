"""Work ahead in threads: in order, bounded, errors at their turn."""
import threading
import time

import pytest

from mmwhitebox.apis.ahead import map_ahead


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_items_stay_in_order(workers):
    def slow(item):
        time.sleep(.001 * (item % 3))
        return item * item

    assert list(map_ahead(slow, range(30), workers, 5)) == [(item, item * item) for item in range(30)]


@pytest.mark.parametrize('most, begun', [(100, 5), (2, 3)], ids=['by number', 'by weight'])
def test_only_so_many_are_begun(most, begun):
    taken, go = [], threading.Event()

    def items():
        for item in range(20):
            taken.append(item)
            if len(taken) == begun + 1:
                raise AssertionError('too many')
            if len(taken) == begun:
                threading.Timer(.05, go.set).start()
            yield item

    found = map_ahead(lambda item: go.wait(), items(), 2, 4, lambda item: 1, most)
    assert next(found) == (0, True) and taken == list(range(begun))
    found.close()


def test_an_error_is_raised_at_its_turn():
    done = []
    with pytest.raises(ZeroDivisionError):
        for item, _ in map_ahead(lambda item: 1 / (item - 3), range(9), 2, 4):
            done.append(item)
    assert done == [0, 1, 2]
