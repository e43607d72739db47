from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol.keywords import STOP_KEYWORDS, Keywords
from airflow_provider_mm7.receiver import ConsentRules, Scope
from airflow_provider_mm7.receiver.settings import read_settings

MINIMUM = {
    "MM7_SQL_ALCHEMY_CONN": "sqlite:////var/lib/mm7/mm7.db",
    "MM7_CALLBACK_LOGIN": "vasp",
    "MM7_CALLBACK_PASSWORD": "secret",
}


def test_three_variables_are_enough() -> None:
    settings = read_settings(MINIMUM)
    found = settings.lookup("mm7_default")
    assert found is not None
    assert (found.login, found.password, found.networks) == ("vasp", "secret", ())
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.media_folder == Path("/var/lib/mm7/mm7_inbound")
    assert (settings.config.max_body_bytes, settings.config.max_concurrent) == (10 * 1024 * 1024, 32)
    assert settings.lookup("other") is None
    assert "secret" not in repr(settings)


def test_every_variable_is_read() -> None:
    settings = read_settings(
        MINIMUM
        | {
            "MM7_CALLBACK_NETWORKS": "10.0.0.0/8",
            "MM7_CALLBACK_LOGIN__CARRIER_B": "b",
            "MM7_CALLBACK_PASSWORD__CARRIER_B": "bb",
            "MM7_CALLBACK_NETWORKS__CARRIER_B": '["192.0.2.0/24"]',
            "MM7_OPT_OUT_SCOPE__CARRIER_B": "short_code",
            "MM7_SENDER_ADDRESS__CARRIER_B": "111122",
            "MM7_STOP_KEYWORDS__CARRIER_B": "+BAJA, Parar",
            "MM7_START_KEYWORDS__CARRIER_B": "none",
            "MM7_INBOUND_MEDIA_URI": "file:///srv/in%20bound",
            "MM7_HOST": "0.0.0.0",
            "MM7_PORT": "9000",
            "MM7_MAX_CALLBACK_BYTES": "1000",
            "MM7_MAX_CONCURRENT_CALLBACKS": "5",
        }
    )
    default, other = settings.lookup("mm7_default"), settings.lookup("carrier_b")
    assert default is not None
    assert other is not None
    assert [str(network) for network in default.networks] == ["10.0.0.0/8"]
    assert (other.login, other.password, str(other.networks[0])) == ("b", "bb", "192.0.2.0/24")
    assert settings.lookup("CARRIER_B") is None
    assert default.consent == ConsentRules()
    assert other.consent == ConsentRules(
        keywords=Keywords(stop=STOP_KEYWORDS | {"baja", "parar"}, start=frozenset()),
        scopes=frozenset({Scope.SHORT_CODE}),
        sender_address="111122",
    )
    assert settings.media_folder == Path("/srv/in bound")
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)
    assert (settings.config.max_body_bytes, settings.config.max_concurrent) == (1000, 5)


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"MM7_SQL_ALCHEMY_CONN": ""}, "MM7_SQL_ALCHEMY_CONN"),
        ({"MM7_CALLBACK_PASSWORD": ""}, "MM7_CALLBACK_PASSWORD"),
        ({"MM7_CALLBACK_LOGIN": ""}, "MM7_CALLBACK_LOGIN"),
        ({"MM7_CALLBACK_LOGIN": "a:b"}, "MM7_CALLBACK_LOGIN"),
        ({"MM7_CALLBACK_NETWORKS": "10.0.0.0/99"}, "MM7_CALLBACK_NETWORKS"),
        ({"MM7_CALLBACK_LOGIN__B": "b"}, "MM7_CALLBACK_PASSWORD__B"),
        ({"MM7_CALLBACK_LOGIN__MM7_DEFAULT": "b", "MM7_CALLBACK_PASSWORD__MM7_DEFAULT": "b"}, "mm7_default"),
        ({"MM7_OPT_OUT_SCOPE": "number"}, "MM7_OPT_OUT_SCOPE"),
        ({"MM7_OPT_OUT_SCOPE": "short_code"}, "MM7_SENDER_ADDRESS"),
        ({"MM7_STOP_KEYWORDS": "stop, !"}, "MM7_STOP_KEYWORDS"),
        ({"MM7_START_KEYWORDS__B": "a"}, "MM7_CALLBACK_LOGIN__B"),
        ({"MM7_PORT": "http"}, "MM7_PORT"),
        ({"MM7_PORT": "65536"}, "MM7_PORT"),
        ({"MM7_MAX_CALLBACK_BYTES": "0"}, "MM7_MAX_CALLBACK_BYTES"),
        ({"MM7_MAX_CONCURRENT_CALLBACKS": "-1"}, "MM7_MAX_CONCURRENT_CALLBACKS"),
        ({"MM7_INBOUND_MEDIA_URI": "s3://bucket/in"}, "MM7_INBOUND_MEDIA_URI"),
        ({"MM7_INBOUND_MEDIA_URI": "file://host/in"}, "MM7_INBOUND_MEDIA_URI"),
    ],
)
def test_a_slip_is_an_error_that_names_the_variable(changes: dict[str, str], variable: str) -> None:
    with pytest.raises(InputError, match=variable) as caught:
        read_settings(MINIMUM | changes)
    assert "secret" not in str(caught.value)


def test_no_credentials_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="MM7_CALLBACK_LOGIN"):
        read_settings({"MM7_SQL_ALCHEMY_CONN": "sqlite:////tmp/x.db"})
