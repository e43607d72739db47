"""``python -m airflow_provider_mm7.sandbox``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_mm7.sandbox.server import run
from airflow_provider_mm7.sandbox.settings import argument_options, flag, from_namespace, option_fields


def parser() -> argparse.ArgumentParser:
    """The command line, made of the settings."""
    made = argparse.ArgumentParser(prog="mm7-sandbox", description="An MMSC for development, in one process.")
    for setting in option_fields():
        made.add_argument(flag(setting), **argument_options(setting))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until ended.

    :return: exit code.
    """
    settings = from_namespace(parser().parse_args(arguments))
    try:
        run(settings)
    except OSError as exc:
        print(f"mm7-sandbox: {exc.strerror or exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
