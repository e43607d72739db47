"""Where commands meet the shell: connections, errors and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module

from airflow_provider_mm7.exceptions import MM7Error

#: The command could not do what it was asked to.
EXIT_FAILED = 1
#: What the user gave cannot be used; argparse's own code for it.
EXIT_USAGE = 2
#: 128 + SIGINT, as shells count.
EXIT_INTERRUPTED = 130


class CommandError(MM7Error):
    """Ends a command with one line on standard error.

    :param exit_code: of the process.
    """

    exit_code: int = EXIT_FAILED


def run_command(module: str, function: str, args: Namespace) -> None:
    """Run a command; its errors become one line on standard error and an exit code.

    :param module: imported now.
    :param function: takes ``args``.
    """
    # As Airflow's own connections command does it: without this, connections made in the UI are not found, since
    # only servers look into the metadata database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    verbose = bool(getattr(args, "verbose", False))
    try:
        with _quiet() if hasattr(args, "output") and not verbose else nullcontext():
            getattr(import_module(module), function)(args)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except Exception as exc:
        if verbose:
            raise
        print(f"airflow mm7: {_one_line(exc)}", file=sys.stderr)
        sys.exit(getattr(exc, "exit_code", EXIT_FAILED))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress (migrations, counts) off the terminal of a command that answers and ends; warnings are shown."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _one_line(error: Exception) -> str:
    """Return what went wrong on one line, with everything masked that Airflow knows to be a secret."""
    from airflow._shared.secrets_masker import redact

    text = " ".join(str(redact(str(error))).split()) or type(error).__name__
    return text if isinstance(error, MM7Error) or _is_airflows(error) else f"{type(error).__name__} (-v shows more)"


def _is_airflows(error: Exception) -> bool:
    """Tell whether this is one of Airflow's own errors, whose text is for people; a library's may hold anything."""
    from airflow.providers.common.compat.sdk import AirflowException

    return isinstance(error, AirflowException)
