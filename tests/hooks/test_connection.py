from __future__ import annotations

import ipaddress
import json
import logging
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.hooks import connection as module
from airflow_provider_mm7.hooks.connection import EXTRA_KEYS, CallbackSettings, ConnectionSettings
from airflow_provider_mm7.protocol.keywords import START_KEYWORDS, STOP_KEYWORDS
from airflow_provider_mm7.protocol.messages import AddressKind
from airflow_provider_mm7.protocol.parts import MM7_NAMESPACE, SOAP_NAMESPACE
from airflow_provider_mm7.provider_info import CONN_FIELDS


def settings(extra: object = None, **columns: Any) -> ConnectionSettings:
    columns = {"host": "https://mmsc.example/mm7", "login": "user", "password": "pw", **columns}
    text = json.dumps(extra) if isinstance(extra, dict) else extra
    return ConnectionSettings.from_connection(Connection(conn_id="c", conn_type="mm7", extra=text, **columns))  # type: ignore[arg-type]


def problem_of(extra: object = None, **columns: Any) -> ConnectionConfigError:
    with pytest.raises(ConnectionConfigError) as caught:
        settings(extra, **columns)
    assert caught.value.field in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_the_form_and_the_settings_have_the_same_fields() -> None:
    assert set(CONN_FIELDS) == EXTRA_KEYS


def test_what_the_form_shows_as_default_is_the_default() -> None:
    plain = settings()
    assert (plain.stop_keywords, plain.start_keywords) == (STOP_KEYWORDS, START_KEYWORDS)
    # Shown as empty: a form that is saved must not freeze the words of today.
    for name, definition in ((name, one) for name, one in CONN_FIELDS.items() if not name.endswith("_keywords")):
        default = definition["schema"].get("default")
        assert (getattr(plain, name) or None) == (default or None), name


def test_a_form_saved_untouched_means_the_defaults() -> None:
    untouched = {name: definition["schema"].get("default") for name, definition in CONN_FIELDS.items()}
    assert settings(untouched) == settings() == settings(dict.fromkeys(CONN_FIELDS, ""))


def test_everything_as_text_is_the_same_as_everything_typed() -> None:
    typed = {
        "vaspid": "42",
        "strict_numbers": True,
        "verify": False,
        "recipients_per_request": 5,
        "rate_per_s": 2.5,
        "max_connections": 4,
        "connect_timeout_s": 3,
        "read_timeout_s": 30,
        "max_message_bytes": 300000,
        "headers": {"X-Api-Key": "k"},
        "status_overrides": {"3500": "retry", "4000": "permanent"},
        "callback_networks": ["203.0.113.0/24", "2001:db8::/32"],
        "client_cert": ["/c.pem", "/k.pem"],
    }
    text = {
        "vaspid": 42,
        "strict_numbers": "Yes",
        "verify": "false",
        "recipients_per_request": " 5 ",
        "rate_per_s": "2.5",
        "max_connections": "4",
        "connect_timeout_s": "3.0",
        "read_timeout_s": "30",
        "max_message_bytes": "300000",
        "headers": '{"X-Api-Key": "k"}',
        "status_overrides": '{"3500": " RETRY", "4000": "Permanent"}',
        "callback_networks": "203.0.113.0/24, 2001:db8::/32,",
        "client_cert": "/c.pem, /k.pem",
    }
    assert settings(text) == settings(typed)
    read = settings(typed)
    assert read.status_overrides == {3500: "retry", 4000: "permanent"}
    assert read.callback_networks == (
        ipaddress.ip_network("203.0.113.0/24"),
        ipaddress.ip_network("2001:db8::/32"),
    )
    assert read.client_cert == ("/c.pem", "/k.pem")
    assert (read.verify, read.strict_numbers, read.rate_per_s) == (False, True, 2.5)


@pytest.mark.parametrize(
    ("columns", "url"),
    [
        ({"host": "https://eziapi.com/mm7"}, "https://eziapi.com/mm7"),
        ({"host": " eziapi.com/mm7 "}, "https://eziapi.com/mm7"),
        ({"host": "eziapi.com"}, "https://eziapi.com/"),
        ({"host": "http://127.0.0.1:8080/mm7?a=b"}, "http://127.0.0.1:8080/mm7?a=b"),
        ({"host": "127.0.0.1:8080/mm7", "schema": "http"}, "http://127.0.0.1:8080/mm7"),
        ({"host": "https://h/mm7", "schema": "HTTPS"}, "https://h/mm7"),
        ({"host": "h", "port": 8443, "schema": "mm7"}, "https://h:8443/mm7"),
        ({"host": "https://h:8443/mm7", "port": 8443}, "https://h:8443/mm7"),
        ({"host": "http://h/", "schema": "/a/b"}, "http://h/a/b"),
        ({"host": "h/mm7", "schema": "mm7"}, "https://h/mm7"),
        ({"host": "[2001:db8::1]", "port": 81, "schema": "mm7"}, "https://[2001:db8::1]:81/mm7"),
    ],
)
def test_url(columns: dict[str, Any], url: str) -> None:
    assert settings(**columns).url == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("mm7://u:p@eziapi.com/mm7", "https://eziapi.com/mm7"),
        ("mm7://http://u:p@127.0.0.1:9080/mm7?vaspid=TNN", "http://127.0.0.1:9080/mm7"),
        # How Airflow's Test button hands a connection over: the whole host quoted.
        ("mm7://https://u:p@eziapi.com%3A8443%2Fmm7/?vaspid=TNN", "https://eziapi.com:8443/mm7"),
    ],
)
def test_connections_given_as_a_uri(uri: str, url: str) -> None:
    read = ConnectionSettings.from_connection(Connection(conn_id="c", uri=uri))  # type: ignore[call-arg]  # attrs hides the overload
    assert (read.url, read.login, read.password) == (url, "u", "p")


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"host": None}, "host"),
        ({"host": "  "}, "host"),
        ({"host": "ftp://h/"}, "host"),
        ({"host": "https:///mm7"}, "host"),
        ({"host": "https://h:port/"}, "host"),
        ({"host": "https://[::1/"}, "host"),
        ({"host": "https://h/mm 7"}, "host"),
        ({"host": "https://h/#part"}, "host"),
        ({"host": "https://h:1/", "port": 2}, "port"),
        ({"host": "http://h/", "schema": "https"}, "schema"),
        ({"host": "http://h/a", "schema": "b"}, "schema"),
        ({"login": "a:b"}, "login"),
        ({"login": None, "extra": {"auth": "digest"}}, "login"),
    ],
)
def test_columns_that_are_refused(columns: dict[str, Any], field: str) -> None:
    assert problem_of(**columns).field == field


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    error = problem_of(host="https://user:hunter22@h/mm7")
    assert error.field == "host"
    assert "hunter22" not in str(error)
    assert "hunter22" not in str(problem_of(host="https://user:hunter22@[h/mm7"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("auth", "kerberos"),
        ("number_format", "+"),
        ("media_types", ["vendor"]),
        ("strict_numbers", "maybe"),
        ("verify", "/etc/ca.pem"),
        ("recipients_per_request", 0),
        ("recipients_per_request", "many"),
        ("recipients_per_request", 1.5),
        ("recipients_per_request", True),
        ("recipients_per_request", "1e999"),
        ("rate_per_s", 0),
        ("rate_per_s", "-1"),
        ("rate_per_s", "nan"),
        ("max_connections", 100000),
        ("connect_timeout_s", 60000),
        ("read_timeout_s", {"s": 1}),
        ("max_message_bytes", "1 MB"),
        ("vaspid", {"id": 1}),
        ("vaspid", "a\nb"),
        ("vasid", False),
        ("namespace", 'http://x" y="'),
        ("soap_namespace", "<"),
        ("source_address", "eth0"),
        ("client_cert", "a,b,c"),
        ("client_cert", 7),
        ("headers", "X-Api-Key: k"),
        ("headers", ["k"]),
        ("headers", {"X Api": "k"}),
        ("headers", {"X-Api": "k\r\nEvil: 1"}),
        ("headers", {"X-Api": "ключ"}),
        ("headers", {"X-Api": None}),
        ("headers", {"content-Length": "1"}),
        ("status_overrides", {"30": "retry"}),
        ("status_overrides", {"1000": "retry"}),
        ("status_overrides", {"3000": "later"}),
        ("status_overrides", {"3000": "unknown"}),
        ("status_overrides", {"502": "permanent"}),
        ("status_overrides", {"404": "unknown"}),
        ("status_overrides", {"3000": 1}),
        ("status_overrides", "[3000]"),
        ("callback_networks", "10.0.0.0/33"),
        ("callback_networks", "[10"),
        ("callback_networks", [1]),
        ("callback_networks", {"a": "b"}),
    ],
)
def test_fields_that_are_refused(field: str, value: object) -> None:
    error = problem_of({field: value})
    assert error.field == field
    assert error.__cause__ is None


@pytest.mark.parametrize("extra", ["[]", "1", "not json"])
def test_an_extra_that_is_no_object_is_refused(extra: str) -> None:
    assert problem_of(extra).field == "extra"


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"callback_login": "cb"}, "callback_password"),
        ({"callback_password": "hunter22"}, "callback_login"),
        ({"callback_login": "c:b", "callback_password": "hunter22"}, "callback_login"),
        ({"callback_login": "cb", "callback_password": 1}, "callback_password"),
    ],
)
def test_half_a_callback_credential_is_refused(extra: dict[str, Any], field: str) -> None:
    error = problem_of(extra)
    assert error.field == field
    assert "hunter22" not in str(error)


def test_a_slip_in_a_sending_field_does_not_close_the_callbacks() -> None:
    conn = Connection(
        conn_id="c",
        conn_type="mm7",
        extra=json.dumps(
            {"auth": "?", "callback_login": "cb", "callback_password": " s p ", "callback_networks": "::1,10.0.0.1/8"}
        ),
    )
    read = CallbackSettings.from_connection(conn)
    assert (read.login, read.password) == ("cb", " s p ")
    assert read.networks == (ipaddress.ip_network("::1"), ipaddress.ip_network("10.0.0.0/8"))


def test_secrets_are_in_no_repr_and_no_error() -> None:
    extra = {"headers": {"X-Api-Key": "keykeykey"}, "callback_login": "cb", "callback_password": "callback1"}
    read = settings(extra, password="password1")
    for text in (repr(read), str(read), repr(read.endpoint), repr(CallbackSettings(login="a", password="callback1"))):
        assert not any(secret in text for secret in ("keykeykey", "callback1", "password1"))
    assert set(read.secrets) == {"password1", "callback1", "keykeykey"}
    error = problem_of({"headers": "keykeykey"})
    assert "keykeykey" not in str(error) + repr(pickle.loads(pickle.dumps(error)).__dict__)


def test_unknown_fields_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    module._warned.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            settings({"vaspId": "TNN", "zone": 1, "vasid": "News"})
    assert [record.getMessage() for record in caplog.records if record.name == module.__name__] == [
        "Connection 'c' has Extra fields that mm7 does not know: vaspId, zone"
    ]


def test_endpoint_carries_what_the_transport_needs() -> None:
    read = settings(
        {
            "auth": "digest",
            "connect_timeout_s": 1,
            "read_timeout_s": 2,
            "verify": False,
            "ca_bundle": "/ca.pem",
            "client_cert": "/both.pem",
            "source_address": "127.0.0.1",
            "headers": {"X-A": "1"},
            "max_connections": 3,
        }
    )
    endpoint = read.endpoint
    assert (endpoint.url, endpoint.login, endpoint.password, endpoint.auth) == (read.url, "user", "pw", "digest")
    assert (endpoint.connect_timeout_s, endpoint.read_timeout_s, endpoint.max_connections) == (1, 2, 3)
    assert (endpoint.verify, endpoint.ca_bundle, endpoint.client_cert) == (False, "/ca.pem", "/both.pem")
    assert (endpoint.source_address, dict(endpoint.headers)) == ("127.0.0.1", {"X-A": "1"})


@dataclass
class _Bare:
    """A connection without credentials, from a class that is not Airflow's."""

    conn_id: str = "bare"
    host: str = "h"
    port: None = None
    schema: None = None
    login: str = ""
    password: str = "left over"
    extra: str = ""


def test_without_a_login_nothing_is_presented() -> None:
    read = ConnectionSettings.from_connection(_Bare())
    assert (read.login, read.password) == (None, None)


def test_dialect_and_sender() -> None:
    plain = settings()
    assert (plain.dialect.mm7_namespace, plain.dialect.soap_namespace) == (MM7_NAMESPACE, SOAP_NAMESPACE)
    assert plain.sender_identification.sender_address is None
    read = settings({"mm7_version": "6.8.0", "namespace": "urn:x", "vaspid": "TNN", "vasid": "News"})
    assert (read.dialect.mm7_version, read.dialect.mm7_namespace) == ("6.8.0", "urn:x")
    assert (read.sender_identification.vasp_id, read.sender_identification.vas_id) == ("TNN", "News")


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("+64211234567", AddressKind.NUMBER),
        ("64211234567", AddressKind.NUMBER),
        ("111122", AddressKind.SHORT_CODE),
        (111122, AddressKind.SHORT_CODE),
        ("News", AddressKind.SHORT_CODE),
        ("news@example.com", AddressKind.RFC2822),
    ],
)
def test_kind_of_the_sender(sender: object, kind: AddressKind) -> None:
    address = settings({"sender_address": sender}).sender_identification.sender_address
    assert address is not None
    assert (address.value, address.kind) == (str(sender), kind)


def test_http_errors_can_be_doubtful_and_are_no_mm7_statuses() -> None:
    read = settings({"status_overrides": {"502": "Unknown", "504": "retry", "4000": "permanent"}})
    doubtful = read.endpoint.doubtful_statuses
    assert (502 in doubtful, 504 in doubtful, 524 in doubtful, 503 in doubtful) == (True, False, True, False)
    assert read.verdicts.keys() == {4000}
