"""The context: a part of the work is stopped alone, or with the whole."""

from threading import Event, Thread

from envbuilder.storage.store import Store
from tests.contexts import context


def test_a_part_stops_with_the_whole_but_not_the_other_way_round(tmp_path):
    whole = context(Store(tmp_path), stop=Event())
    part, other = whole.part(), whole.part()
    part.stop.set()
    assert part.stop.is_set()
    assert not whole.stop.is_set()
    assert not other.stop.is_set()
    whole.stop.set()
    assert other.stop.is_set()
    assert other.part().stop.wait(0)


def test_who_waits_hears_of_either(tmp_path):
    whole = context(Store(tmp_path), stop=Event())
    heard = []

    def listen(stop):
        while not stop.wait(0.01):
            pass
        heard.append(True)

    for setter in (whole.part(), whole):
        listener = Thread(target=listen, args=(setter.part().stop,))
        listener.start()
        setter.stop.set()
        listener.join(10)
        assert heard
        heard.clear()


def test_what_else_is_there_is_shared(tmp_path):
    whole = context(Store(tmp_path), offline=True, builder="far")
    part = whole.part()
    assert (part.store, part.registries) == (whole.store, whole.registries)
    assert (part.offline, part.builder) == (True, "far")
