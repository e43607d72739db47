"""From a task instance in Airflow's UI to what it sent, or waits for, on the MMS page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

#: Where the plugin mounts the page.
PAGE = "/mm7/ui"


class MMSLink(BaseOperatorLink):
    """The button "MMS" of a task instance: its batch.

    Airflow asks for the address on the worker, when the task ends or is deferred, and keeps it as an XCom.
    """

    name = "MMS"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty when nothing was sent.

        :param operator: one with ``linked_batch``, the id of a batch, ``linked_message``, a MessageID, or
            ``linked_inbound``, a message from a handset, or None for their list.
        :param ti_key: the task instance.
        """
        batch_id = getattr(operator, "linked_batch", None)
        if batch_id:
            return page_url("batches", batch_id)
        message_id = getattr(operator, "linked_message", None)
        if message_id:
            return f"{page_url('find')}?q={quote(message_id, safe='')}"
        if hasattr(operator, "linked_inbound"):
            return page_url("inbound", *([] if operator.linked_inbound is None else [str(operator.linked_inbound)]))
        return ""


def page_url(*segments: str) -> str:
    """Return the address of a page, below the path of Airflow's own address.

    :param segments: parts of its path.
    """
    below = urlsplit(str(conf.get("api", "base_url", fallback="") or "")).path.rstrip("/")
    return "/".join([f"{below}{PAGE}", *(quote(segment, safe="") for segment in segments)])
