"""Batches that are killed at random moments, again and again, and resumed: what must never happen then, never does.

The MMSC and the ledger are looked at from outside. A kill is a SIGKILL: the process has no say in it.
"""
