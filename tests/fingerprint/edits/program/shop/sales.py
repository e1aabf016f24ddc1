from . import prices
from .rates import base as standard


def discount(x):
    return x - prices.base(x) * standard()
