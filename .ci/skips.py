"""Print what the suite skipped, and fail when a test was skipped that must run here."""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(reports: list[str]) -> int:
    """Read JUnit files of pytest.

    :param reports: their names.
    :return: 1 when a skip is not allowed: those are that name ``MM7_XSD`` where there is no schema, or Chromium where
        there is none.
    """
    skipped = [
        (f"{case.get('classname')}::{case.get('name')}", skip.get("message") or "")
        for report in reports
        for case in ElementTree.fromstring(Path(report).read_bytes()).iter("testcase")  # noqa: S314
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail"
    ]
    needs_schema = [reason for _, reason in skipped if "MM7_XSD" in reason and "MM7_XSD" not in os.environ]
    browser = any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    needs_browser = [reason for _, reason in skipped if "Chromium" in reason and not browser]
    print(
        f"{len(skipped)} skipped, {len(needs_schema)} of them for want of the schema, "
        f"{len(needs_browser)} for want of Chromium"
    )
    for name, reason in skipped:
        print(f"  {name}: {reason}")
    return 1 if len(skipped) > len(needs_schema) + len(needs_browser) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
