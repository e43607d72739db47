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
        with _answering(verbose=verbose) if hasattr(args, "output") else nullcontext():
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
def _answering(*, verbose: bool) -> Iterator[None]:
    """Keep standard output for the answer of a command that answers and ends.

    :param verbose: whether progress (migrations, counts) is logged as well; warnings always are.
    """
    before = logging.root.manager.disable
    # Airflow 3.2 logs to standard output; from 3.3 on it does this itself.
    misdirected = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout
    ]
    for handler in misdirected:
        handler.setStream(sys.stderr)
    if not verbose:
        logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            if not verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        for handler in misdirected:
            handler.setStream(sys.stdout)


def confirm(question: str) -> None:
    """Ask on the terminal before something is deleted.

    :raises CommandError: nobody can be asked, or the answer is not yes.
    """
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked here; give --yes to delete", exit_code=EXIT_USAGE)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was deleted")


def _one_line(error: Exception) -> str:
    """Return what went wrong on one line, with everything masked that Airflow knows to be a secret."""
    from airflow._shared.secrets_masker import redact

    text = " ".join(str(redact(str(error))).split()) or type(error).__name__
    return text if isinstance(error, MM7Error) or _is_airflows(error) else f"{type(error).__name__} (-v shows more)"


def _is_airflows(error: Exception) -> bool:
    """Tell whether this is one of Airflow's own errors, whose text is for people; a library's may hold anything."""
    from airflow.providers.common.compat.sdk import AirflowException

    return isinstance(error, AirflowException)
