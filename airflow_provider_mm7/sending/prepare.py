"""A draft becomes a prepared message: everything checked, media read and encoded once, before anything is sent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from airflow_provider_mm7.exceptions import AddressError, InputError
from airflow_provider_mm7.media import (
    MediaObject,
    MediaSource,
    auto_smil,
    build_parts,
    check_size,
    fetch_media,
    validate_smil,
)
from airflow_provider_mm7.protocol import (
    Address,
    Content,
    ContentRef,
    Part,
    Payload,
    Recipients,
    SubmitReq,
    dump,
    encode_content,
    normalise_number,
)
from airflow_provider_mm7.sending.draft import Draft, Profile, Recipient, is_document, resolve_time
from airflow_provider_mm7.sending.record import options_of
from airflow_provider_mm7.sending.stamp import Stamp
from airflow_provider_mm7.store import Options

#: A SMIL document is text for a few slides.
MAX_SMIL_BYTES = 64 * 1024
ROLES = ("to", "cc", "bcc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A message ready for any of its recipients; the encoded content is shared by all of them.

    :ivar recipients: checked and without duplicates, in the order To, Cc, Bcc.
    :ivar parts: what the content was encoded from, a presentation first.
    :ivar warnings: sentences for the log, numbers masked.
    """

    recipients: tuple[Recipient, ...]
    template: SubmitReq
    content: Content
    parts: tuple[Part, ...]
    profile: Profile
    warnings: tuple[str, ...] = ()
    #: What the user or the connection set, as they set it.
    options: Options = field(default_factory=dict)
    #: By role. Threads may make one twice, which does no harm.
    _stamps: dict[str, Stamp | None] = field(init=False, repr=False, compare=False, default_factory=dict)

    def payload(self, recipients: Sequence[Recipient], transaction_id: str) -> Payload:
        """Return the bytes for these recipients."""
        if len(recipients) == 1 and (stamp := self._stamp(recipients[0].role)):
            stamped = stamp.payload(recipients[0].number, transaction_id)
            if stamped is not None:
                return stamped
        return self._dump(recipients, transaction_id)

    def _stamp(self, role: str) -> Stamp | None:
        if role not in self._stamps:
            self._stamps[role] = Stamp.cut(lambda number, tid: self._dump([Recipient(number=number, role=role)], tid))
        return self._stamps[role]

    def _dump(self, recipients: Sequence[Recipient], transaction_id: str) -> Payload:
        return dump(
            self._request(recipients),
            transaction_id=transaction_id,
            content=self.content,
            dialect=self.profile.dialect,
        )

    def envelope(self, recipients: Sequence[Recipient], transaction_id: str) -> str:
        """Return the SOAP part alone."""
        request = self._request(recipients)
        return dump(request, transaction_id=transaction_id, dialect=self.profile.dialect).body.decode()

    def _request(self, recipients: Sequence[Recipient]) -> SubmitReq:
        return replace(self.template, recipients=_addresses(recipients))


def prepare(draft: Draft, profile: Profile, source: MediaSource, *, now: datetime) -> Prepared:
    """Check a draft, read its media and encode it.

    :param source: reads media by URI.
    :param now: the moment of sending, with zone.
    :raises InputError: names the field, the problem and the remedy; nothing was sent.
    :raises MediaError: names the object.
    """
    recipients, warnings = check_recipients(draft, profile)
    parts, smil, objects = _parts(draft, profile, source)
    token = uuid.uuid4().hex
    content = encode_content(parts, content_id=f"content-{token}", boundary=f"inner{token}", smil=smil)
    prepared = Prepared(
        recipients=recipients,
        template=make_template(draft, profile, content.content_id, now),
        content=content,
        parts=parts if smil is None else (smil, *parts),
        profile=profile,
        warnings=warnings,
        options=options_of(draft, profile),
    )
    # One payload now finds what the schema refuses, and the size on the wire, before the ledger knows of the batch.
    longest = sorted(recipients, key=lambda item: len(item.number), reverse=True)[: profile.recipients_per_request]
    largest = prepared.payload(longest, transaction_id=str(uuid.uuid4()))
    check_size(len(largest), profile.max_message_bytes, ((found.uri, len(found.body)) for found in objects))
    return prepared


def check_recipients(draft: Draft, profile: Profile) -> tuple[tuple[Recipient, ...], tuple[str, ...]]:
    """Return the recipients without duplicates, and warnings about them.

    :raises AddressError: names the list and the index; the number masked.
    :raises InputError: when there is nobody to send to.
    """
    found: dict[str, Recipient] = {}
    warnings: list[str] = []
    duplicates = 0
    for role in ROLES:
        for index, value in enumerate(getattr(draft, role)):
            try:
                number, warning = normalise_number(
                    value, number_format=profile.number_format, strict=profile.strict_numbers
                )
            except AddressError as exc:
                raise AddressError(f"{role}[{index}]", exc.problem, exc.remedy) from None
            if warning:
                warnings.append(warning)
            if number in found:
                duplicates += 1
            else:
                found[number] = Recipient(number=number, role=role)
    if not found:
        raise InputError(
            "to", "no recipient", "Give at least one number, or skip the task when there is nobody to write to"
        )
    if duplicates:
        warnings.append(f"{duplicates} recipients stand in the lists more than once and get one message")
    return tuple(found.values()), tuple(warnings)


def _parts(
    draft: Draft, profile: Profile, source: MediaSource
) -> tuple[tuple[Part, ...], Part | None, tuple[MediaObject, ...]]:
    if not any(map(str.strip, draft.text)) and not draft.media:
        raise InputError("text", "neither text nor media", "Give at least one of them")
    limit = profile.max_message_bytes
    objects = fetch_media(source, draft.media, max_bytes=limit, used=sum(len(text.encode()) for text in draft.text))
    parts = build_parts(draft.text, objects, spelling=profile.media_types, max_bytes=limit)
    return parts, make_smil(draft.smil, parts, source), objects


def make_smil(smil: str, parts: Sequence[Part], source: MediaSource) -> Part | None:
    """Make the presentation of some parts, of which it reads all but the bodies.

    :param smil: as in :class:`Draft`.
    :raises SmilError: the user's document does not fit the parts.
    """
    if smil == "none":
        return None
    if smil == "auto":
        return auto_smil(parts)
    if is_document(smil):
        return validate_smil(smil.encode(), parts)
    return validate_smil(source.fetch(smil, limit=MAX_SMIL_BYTES).body, parts)


def make_template(draft: Draft, profile: Profile, content_id: str, now: datetime) -> SubmitReq:
    """Make the request without its recipients.

    :param content_id: of the content that it will travel with.
    """
    return SubmitReq(
        mm7_version=profile.dialect.mm7_version,
        sender_identification=profile.sender,
        service_code=profile.service_code,
        linked_id=draft.linked_id,
        message_class=draft.message_class,
        timestamp=now.replace(microsecond=0),
        earliest_delivery=resolve_time(draft.earliest_delivery, now=now),
        expiry=resolve_time(draft.expiry, now=now),
        delivery_report=draft.delivery_report,
        read_reply=draft.read_reply,
        priority=draft.priority,
        subject=draft.subject,
        charged_party=draft.charged_party,
        distribution_indicator=draft.distribution_indicator,
        content_class=draft.content_class,
        contents=(ContentRef(href=f"cid:{content_id}", allow_adaptations=draft.allow_adaptations),),
    )


def _addresses(recipients: Sequence[Recipient]) -> Recipients:
    by_role = {role: tuple(Address(value=item.number) for item in recipients if item.role == role) for role in ROLES}
    return Recipients(**by_role)
