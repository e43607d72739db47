"""A message as JSON, for people and scripts that look into one (``airflow mm7 inspect``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_mm7.protocol import messages as m
from airflow_provider_mm7.protocol.mime import parse_parameters
from airflow_provider_mm7.protocol.parts import Envelope, Part
from airflow_provider_mm7.protocol.statuses import MMStatus
from airflow_provider_mm7.protocol.times import format_datetime, format_duration


def describe(envelope: Envelope) -> dict[str, Any]:
    """Describe a message in JSON's types.

    :param envelope: as :func:`airflow_provider_mm7.protocol.load` gave it.
    :return: ``operation``, ``transaction_id``, ``mm7_version``, ``fields`` (absent ones left out) and ``parts``.
    """
    message = envelope.message
    return {
        "operation": type(message).__name__,
        "transaction_id": envelope.transaction_id,
        "mm7_version": message.mm7_version,
        "fields": dict(_message_fields(message)),
        "parts": [_part(part) for part in envelope.parts],
    }


def _message_fields(message: m.Message) -> Iterator[tuple[str, Any]]:
    for field in fields(message):
        value = getattr(message, field.name)
        if value is None or value == () or field.name == "mm7_version":
            continue
        match field.name:
            case "sender_identification":
                yield from _identification(value)
            case "status":
                yield from _plain_fields(value)
            case "recipients":
                if value.all:
                    yield "recipients", _plain(value.all)
            case "mm_status":
                yield "mm_status", MMStatus.parse(value).name
                yield "mm_status_raw", value
            case "timestamp":
                # When it happened stands under one name in every message.
                yield "timestamp", _plain(value)
                yield "date", _plain(value)
            case _:
                yield field.name, _plain(value)


def _identification(value: m.SenderIdentification) -> Iterator[tuple[str, Any]]:
    for name, item in _plain_fields(value):
        yield ("sender" if name == "sender_address" else name), item


def _plain_fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        item = getattr(value, field.name)
        if item is not None:
            yield field.name, _plain(item)


def _plain(value: Any) -> Any:
    match value:
        case m.Address():
            return value.plain
        case m.ContentRef():
            return value.href
        case m.ReplyCharging() | m.UACapabilities():
            return dict(_plain_fields(value))
        case datetime():
            return format_datetime(value)
        case timedelta():
            return format_duration(value)
        case str() | int():
            return value
        case _:
            return _plain_list(value)


def _plain_list(values: Iterable[Any]) -> list[Any]:
    return [_plain(value) for value in values if value is not None]


def _part(part: Part) -> dict[str, Any]:
    return {
        "content_id": part.content_id,
        "content_location": part.content_location,
        "content_type": parse_parameters(part.content_type)[0],
        "size": len(part.body),
        "sha256": hashlib.sha256(part.body).hexdigest(),
    }
