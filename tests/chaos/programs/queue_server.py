"""Serves the queue of the workspace until its standard input ends."""

import sys

from pipelite import Workspace
from pipelite.automate import Dispatcher, Limits

if __name__ == "__main__":
    dispatcher = Dispatcher(Workspace().store, Limits(total=2))
    dispatcher.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    dispatcher.stop(grace_s=0.1)
