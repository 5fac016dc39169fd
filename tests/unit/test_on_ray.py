"""How many actors there are and what they reserve, and values that come from elsewhere; Ray itself is run in
tests/unit/data_selection/test_engines.py."""

import pytest

from interp.errors import InvalidInput
from interp.on_ray import ATTEMPTS, _Actor, _Begun, _Box, actors, values_on_ray


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("workers", [None, 1, 2, 3, 7, 200])
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_actors_always_leave_a_part_of_the_cpus(cpus, workers, threads):
    n, share = actors(cpus, 0, workers=workers, threads=threads)
    assert n == (workers or max(1, cpus // threads))
    assert 0 < share <= threads
    assert n * share <= max(cpus - 1, cpus / 2) + 1e-9
    assert share <= 1 or share == int(share)


def test_there_is_one_worker_a_gpu():
    assert actors(64, 8, gpu=True, threads=4) == (8, 4.0)
    with pytest.raises(InvalidInput, match="Ray has 1 for 2 workers"):
        actors(64, 1, gpu=True, workers=2)
    with pytest.raises(InvalidInput, match="whole number from 1"):
        actors(2, 0, workers=0)


class Remote:
    """An actor of Ray whose calls answer at once."""

    def __init__(self, actor):
        self.count = type("Method", (), {"remote": staticmethod(actor.count)})


def actor(compute):
    made = object.__new__(_Actor)
    made.get, made.compute, made.begun = (lambda value: value), compute, Remote(_Begun())
    return made


def test_what_a_unit_raises_comes_back_as_it_was():
    def refuse(given):
        raise InvalidInput(f"no {given}")

    out = actor(refuse)({"unit": ["a"], "given": [_Box("thing")]})
    error = out["value"][0].content
    assert isinstance(error, InvalidInput)
    assert str(error) == "no thing"
    assert error.__notes__ == ["while computing unit 'a'; units finished before it are kept"]


def test_a_unit_that_ends_its_worker_each_time_is_given_up():
    one = actor(len)
    for _ in range(ATTEMPTS):
        assert one({"unit": ["a"], "given": [_Box("abc")]})["value"][0].content == 3
    assert "ended its worker 8 times" in str(one({"unit": ["a"], "given": [_Box("abc")]})["value"][0].content)
    assert one({"unit": ["b"], "given": [_Box("abc")]})["value"][0].content == 3


def test_no_unit_starts_no_ray():
    assert list(values_on_ray([], len, given=str)) == []
