"""Several commands of ``airflow``, one after the other in one process, which starts Airflow once.

``python -m tests.support.airflow_in_turn`` reads a JSON list of lists of arguments, and prints one of what each said.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys


def main() -> None:
    """Run them; the first that fails ends it with its exit status."""
    from airflow.__main__ import main as airflow

    printed = []
    for arguments in json.load(sys.stdin):
        sys.argv = ["airflow", *arguments]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                airflow()  # type: ignore[no-untyped-call]
            except SystemExit as ended:
                if ended.code:
                    raise
        printed.append(said.getvalue())
    json.dump(printed, sys.stdout)


if __name__ == "__main__":
    main()
