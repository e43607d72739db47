"""S3 and other object stores: what they say of an object, and their errors as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowException
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from airflow_provider_mm7.exceptions import (
    MediaAccessDenied,
    MediaChanged,
    MediaError,
    MediaNotFound,
    MediaUnavailable,
)
from airflow_provider_mm7.media.source import scheme_of

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: What stores call the version of an object in what fsspec's ``info`` returns, the surest first.
_VERSION_KEYS = (
    "etag",
    "ETag",
    "generation",
    "content_md5",
    "md5Hash",
    "mtime",
    "last_modified",
    "LastModified",
    "updated",
    # An object is made anew by each write; fsspec's own memory store tells nothing else.
    "created",
)
#: What botocore raises when the network, and not the request, is the matter.
_TRANSIENT = (BotoConnectionError, HTTPClientError, IncompleteReadError)
#: Codes of S3 errors; a HEAD has no body, so botocore gives it the HTTP status in their place.
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_DENIED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_WRITES = frozenset({"PutObject"})


def split_s3_uri(uri: str, *, field: str = "media") -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. The key is taken as it stands: ``?``, ``#`` and ``%`` belong to it.

    :raises MediaError: one of them is missing.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket or not key:
        raise MediaError(uri, "names no bucket and key", "Write s3://bucket/key", field=field)
    return bucket, key


class S3Connection:
    """One client for whoever uses S3 in one run of a task: making one costs a tenth of a second and much memory.

    :param aws_conn_id: Airflow connection (credentials, role, region, ``endpoint_url``); None: boto3's own chain.
    """

    def __init__(self, aws_conn_id: str | None) -> None:
        self.aws_conn_id = aws_conn_id

    @cached_property
    def client(self) -> Any:
        """The boto3 client of the connection, made when it is first needed. Threads may share it."""
        return S3Hook(aws_conn_id=self.aws_conn_id).get_conn()


@contextmanager
def s3_errors(uri: str, aws_conn_id: str | None, *, field: str = "media") -> Iterator[None]:
    """Translate what botocore raises.

    :param field: the parameter that named the object.
    :raises MediaError: one of its kinds.
    :raises MediaUnavailable: S3 did not answer; try again.
    """
    through = f"through connection {aws_conn_id!r}"
    try:
        yield
    except ClientError as exc:
        raise _translate_s3(uri, exc, through, field) from exc
    except _TRANSIENT as exc:
        raise MediaUnavailable(
            f"{field}: {uri}: S3 did not answer, or broke off, {through} ({type(exc).__name__})", source=uri
        ) from exc
    except BotoCoreError as exc:
        raise MediaError(
            uri,
            f"cannot be reached on S3 {through} ({type(exc).__name__}: {exc})",
            "Check endpoint_url, region and credentials of the connection",
            field=field,
        ) from exc


def _translate_s3(uri: str, error: ClientError, through: str, field: str) -> MediaError | MediaUnavailable:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _MISSING:
        return _not_found(uri, f"does not exist ({through})", field)
    if code in _CHANGED:
        return MediaChanged(
            uri,
            "changed while it was read: its ETag is another one now",
            "Run the task again once its upload is complete",
            field=field,
        )
    if code in _DENIED:
        needed = (
            "s3:PutObject on this object"
            if error.operation_name in _WRITES
            else "s3:GetObject on this object (and s3:ListBucket: without it a missing object looks like this too)"
        )
        return MediaAccessDenied(
            uri,
            f"S3 refused {error.operation_name} {through} ({code})",
            f"Give its identity {needed}, or correct its credentials",
            field=field,
        )
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or status == 429:
        return MediaUnavailable(f"{field}: {uri}: S3 answered {code} to {error.operation_name} {through}", source=uri)
    return MediaError(
        uri, f"S3 answered {code} to {error.operation_name} {through}", "See the S3 server's log", field=field
    )


@contextmanager
def storage_errors(uri: str, conn_id: str | None, *, field: str = "media") -> Iterator[None]:
    """Translate what the stores behind ObjectStoragePath raise: each has an exception tree of its own.

    :raises MediaError: one of its kinds.
    :raises MediaUnavailable: the store did not answer; try again.
    """
    try:
        yield
    except (MediaError, MediaUnavailable):
        raise
    except Exception as exc:
        raise _translate_storage(uri, exc, conn_id, field) from exc


def _translate_storage(uri: str, error: Exception, conn_id: str | None, field: str) -> MediaError | MediaUnavailable:
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    through = f"through connection {conn_id!r}" if conn_id else "without a connection"
    if isinstance(error, FileNotFoundError) or status == 404:
        return _not_found(uri, f"does not exist ({through})", field)
    if isinstance(error, PermissionError) or status in (401, 403):
        return MediaAccessDenied(
            uri,
            f"the store refused access to it {through}",
            "Give its identity permission for this object",
            field=field,
        )
    if isinstance(error, (ImportError, ValueError, AirflowException)):
        return MediaError(
            uri,
            f"no store answers for {scheme_of(uri)}:// ({error})",
            "Install the Airflow provider of this store, and check the connection",
            field=field,
        )
    return MediaUnavailable(f"{field}: {uri}: cannot be reached {through} ({type(error).__name__})", source=uri)


def _not_found(uri: str, problem: str, field: str) -> MediaNotFound:
    return MediaNotFound(uri, problem, "Check the name, and that the task that makes it ran before", field=field)


def facts_of(path: ObjectStoragePath) -> dict[str, Any]:
    """What the store says about an object now, not what a listing said before."""
    path.fs.invalidate_cache()
    return dict(path.fs.info(path.path))


def version_of(facts: Mapping[str, Any]) -> str:
    """Name the version of an object by what the store says of it."""
    found = next((str(facts[key]) for key in _VERSION_KEYS if facts.get(key)), "")
    return f"{found}-{facts.get('size')}"
