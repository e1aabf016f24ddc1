from .constants import LATE

TABLE = {"a": 1}
TABLE["b"] = 49


def later(x):
    return around(x) + LATE + TABLE["a"]


def around(x):
    if x > 50:
        return later(x - 1)
    return x
