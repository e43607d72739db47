"""Imported by Python at its start where this folder is on PYTHONPATH: a process that takes itself for another machine.

Host names are what tells machines apart; with one of its own, a worker on this machine is to the others what one far
away is. Namespaces would do the same, where one is allowed to make them.
"""

from __future__ import annotations

import os
import socket

_name = os.environ.get("TEST_HOST_NAME")
if _name:
    socket.gethostname = lambda: str(_name)
