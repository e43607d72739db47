"""What an MMSC does with a request: the record of it, the status, and the callbacks that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from airflow_provider_mm7.protocol import status_text
from airflow_provider_mm7.sandbox.callbacks import Callback, CallbackQueue
from airflow_provider_mm7.sandbox.judge import Judged
from airflow_provider_mm7.sandbox.record import Record, RecordBook
from airflow_provider_mm7.sandbox.reports import Spelling
from airflow_provider_mm7.sandbox.request import Request
from airflow_provider_mm7.sandbox.scenarios import (
    Behaviour,
    ReportStep,
    Scenario,
    scenario_of_number,
)
from airflow_provider_mm7.sandbox.script import Script
from airflow_provider_mm7.sandbox.settings import Settings

#: Behaviours whose answer holds a status.
_SPEAKING = frozenset(
    {Behaviour.ANSWER, Behaviour.FAULT, Behaviour.SLOW, Behaviour.NO_MESSAGE_ID, Behaviour.HALF_AN_ANSWER}
)
#: Behaviours with an HTTP status line.
_WITH_HTTP = _SPEAKING | {Behaviour.HTTP_STATUS, Behaviour.GARBAGE}


Chain = tuple[tuple[Callback, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done about one request.

    :ivar record: to be kept before anything is answered.
    :ivar scenario: how it is answered.
    :ivar early: callbacks posted before the answer.
    :ivar later: per recipient, callbacks and the seconds after the answer when they are posted.
    """

    record: Record
    scenario: Scenario
    early: tuple[Callback, ...] = ()
    later: tuple[Chain, ...] = ()


class MMSC:
    """Decides. Used from one thread.

    :param settings: delays, pedantry.
    :param book: what was received before.
    :param script: what is played.
    :param callbacks: what is still to be sent, for CancelReq.
    :param spelling: writes callbacks, gives out ids.
    """

    def __init__(
        self, settings: Settings, *, book: RecordBook, script: Script, callbacks: CallbackQueue, spelling: Spelling
    ) -> None:
        self._settings = settings
        self._book = book
        self._script = script
        self._callbacks = callbacks
        self._spelling = spelling

    def decide(self, judged: Judged, forced: Scenario | None, body_bytes: int, arrived: datetime) -> Decision:
        """Decide about one request.

        :param judged: the request.
        :param forced: what must be played whatever the recipients are; a request that is against the schema is
            refused all the same.
        :param body_bytes: length of the HTTP body.
        :param arrived: when its head had come.
        """
        record = _record_of(self._book.next_seq(), arrived, judged, body_bytes, pedantic=self._settings.pedantic)
        scenario = self._refusal(judged) or forced or self._script.choose(record.recipients)
        after: tuple[Chain, ...] = ()
        if judged.request is not None and judged.request.operation != "SubmitReq" and scenario.accepts:
            scenario, after = self._change(judged.request, scenario)
        record = self._answered(record, scenario)
        early: list[Callback] = []
        if record.accepted and self._callbacks.enabled:
            chains = [self._chain(record, recipient, forced) for recipient in record.recipients]
            early = [callback for chain in chains for callback, after_s in chain if after_s < 0]
            after = tuple(tuple(one for one in chain if one[1] >= 0) for chain in chains)
        return Decision(record=record, scenario=scenario, early=tuple(early), later=after)

    def _chain(self, record: Record, recipient: str, forced: Scenario | None) -> Chain:
        """The callbacks about one recipient that were asked for; below 0 seconds: before the answer."""
        request = record.request
        if request is None:
            return ()
        chain = []
        for step in (forced or scenario_of_number(recipient)).reports:
            if not (request.read_reply if step.read_reply else request.delivery_report):
                continue
            late_s = self._settings.late_seconds if step.late else 0.0
            after_s = step.turn * self._settings.report_delay + late_s if step.turn else -1.0
            chain.append((self._spelling.report(str(record.message_id), recipient, record.sender, step), after_s))
        return tuple(chain)

    def _refusal(self, judged: Judged) -> Scenario | None:
        refusal = judged.refusal(pedantic=self._settings.pedantic)
        if refusal is None:
            return None
        code, details = refusal
        return Scenario(
            code="",
            name="refused",
            meaning="",
            # SOAP 1.1 section 6.2: a Fault comes with HTTP 500.
            behaviour=Behaviour.FAULT if judged.as_fault else Behaviour.ANSWER,
            http_status=500 if judged.as_fault else 200,
            status_code=code,
            details=details,
            reports=(),
        )

    def _change(self, request: Request, scenario: Scenario) -> tuple[Scenario, tuple[Chain, ...]]:
        """CancelReq and ReplaceReq: 2005 for an id never given, 3001 when a report went out already."""
        message_id = request.message_id or ""
        earlier = self._book.find_message(message_id)
        if earlier is None:
            return replace(scenario, status_code=2005), ()
        waiting, posted = self._callbacks.about(message_id)
        if posted:
            return replace(scenario, status_code=3001, details="the message was delivered already"), ()
        if request.operation == "ReplaceReq" or not waiting:
            return scenario, ()
        self._callbacks.cancel(message_id)
        step = ReportStep(mm_status="Cancelled")
        return scenario, tuple(
            ((self._spelling.report(message_id, one, earlier.sender, step), self._settings.report_delay),)
            for one in earlier.recipients
        )

    def _answered(self, record: Record, scenario: Scenario) -> Record:
        accepted = scenario.accepts and record.operation == "SubmitReq"
        speaks = scenario.behaviour in _SPEAKING
        return replace(
            record,
            accepted=accepted,
            message_id=self._spelling.next_id() if accepted else None,
            status_code=scenario.status_code if speaks else None,
            status_text=status_text(scenario.status_code) if speaks else None,
            details=(scenario.details or _failed_addresses(record, scenario)) if speaks else None,
            http_status=scenario.http_status if scenario.behaviour in _WITH_HTTP else None,
            scenario=scenario.name,
        )


def _failed_addresses(record: Record, scenario: Scenario) -> str | None:
    """Details of a partial success name the addresses that failed (TS 23.140 clause 8.7.8.3.3)."""
    if scenario.status_code != 1100:
        return None
    return ", ".join(one for one in record.recipients if scenario_of_number(one).status_code == 1100) or None


def _record_of(seq: int, arrived: datetime, judged: Judged, body_bytes: int, *, pedantic: bool) -> Record:
    """What is known of a request before it is decided."""
    soap = judged.soap
    return Record(
        seq=seq,
        received_at=arrived,
        operation=soap.operation if soap else None,
        transaction_id=soap.transaction_id if soap else None,
        namespace=(soap.mm7_namespace or None) if soap else None,
        request=judged.request,
        valid=judged.refusal(pedantic=pedantic) is None,
        problems=tuple(one.text for one in judged.findings),
        schema_valid=judged.schema_valid,
        schema_messages=judged.schema_messages,
        body_bytes=body_bytes,
        leaves=judged.reading.leaves,
        tree=judged.reading.tree,
    )
