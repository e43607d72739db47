"""Our own secrets, made known to Airflow's maskers."""

from __future__ import annotations

import sys
from collections.abc import Iterable

#: The masker of servers and of the command line. It is another instance than the Task SDK's.
_CORE_MASKER = "airflow._shared.secrets_masker"


def mask_secrets(secrets: Iterable[str]) -> None:
    """Keep these values out of every log of this process, and of the task's supervisor.

    Airflow masks a connection's password by itself. It knows nothing of a header's value, and a JSON text inside Extra
    is one string to it, which the values in it are not.
    """
    from airflow.sdk.log import mask_secret

    # Tasks never import the core, so it is masked only where it is there already.
    core = sys.modules.get(_CORE_MASKER)
    for secret in secrets:
        mask_secret(secret)
        if core is not None:
            core.mask_secret(secret)
