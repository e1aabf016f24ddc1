from . import constants
from .inner import later as late

__all__ = ["constants", "late"]
