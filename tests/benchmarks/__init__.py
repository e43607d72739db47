"""How fast the product is against other ways to send; run by ``make bench``, never by ``make test``."""

from __future__ import annotations
