from . import constants
from .inner import later as late
