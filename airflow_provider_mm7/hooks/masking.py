"""Our own secrets, made known to Airflow's maskers."""

from __future__ import annotations

import sys
from collections.abc import Iterable

#: Fields of the form whose value is a secret by itself, and that Airflow's own list of telling names does not have.
SECRET_FIELDS = ("headers",)
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


def hide_secret_fields() -> None:
    """Have the API server hide our secret fields by their names, as it hides passwords.

    A value that it hides for its content (see :func:`mask_secrets`) would be saved as ``***`` with the form; what it
    hides for its name it puts back. The list is one for all connections and variables: whatever is named ``headers`` in
    another's Extra is hidden and kept likewise. Tasks are not affected, nor is a deployment that hides nothing by name.
    """
    core = sys.modules.get(_CORE_MASKER)
    if core is None:
        return
    names: list[str] = core._secrets_masker().sensitive_variables_fields
    names.extend(name for name in SECRET_FIELDS if name not in names)
