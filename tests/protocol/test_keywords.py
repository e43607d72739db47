from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol.keywords import (
    MAX_LINE,
    START_KEYWORDS,
    STOP_KEYWORDS,
    Keywords,
    fold,
    parse_keywords,
)

WORDS = Keywords()


@pytest.mark.parametrize("word", sorted(STOP_KEYWORDS))
@pytest.mark.parametrize(
    "around", ["{}", " {}\n", "{}.", '"{}"', "“{}”", "«{}!»", "\ufeff{}\u200b", "({})", "{} 🛑", "\t*{}*"]
)
def test_every_word_that_ends_messages(word: str, around: str) -> None:
    for spelled in (word, word.upper(), word.title()):
        said = WORDS.read(around.format(spelled))
        assert said is not None
        assert (said.opted_out, said.keyword) == (True, word)


@pytest.mark.parametrize("word", sorted(START_KEYWORDS))
def test_every_word_that_takes_it_back(word: str) -> None:
    said = WORDS.read(f"{word.upper()}!")
    assert said is not None
    assert (said.opted_out, said.keyword) == (False, word)


@pytest.mark.parametrize(
    "text",
    [
        "End of season photos?",
        "Please stop",
        "stop it",
        "STOP ALL",
        "don't stop",
        "non-stop",
        "STOPP",
        "s t o p",
        "Cancel my order 17",
        "start now",
        "Hello\nSTOP",
        "",
        " \n ",
        "!!!",
        "🛑",
        "\0",
        "stop" * 1000,
        None,
    ],
)
def test_what_is_about_something_else(text: str | None) -> None:
    assert WORDS.read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "STOP\nSent from my phone",
        "\n\n  Stop.  \r\n\r\nregards, Z",
        "\u201c\nSTOP\n\u201d",
        "...\nstop",
        "stop\u2028thanks",
        "\uff33\uff34\uff2f\uff30",  # full width
        "\u24c8\u24c9\u24c4\u24c5",  # in circles
        "STOP\ufe0f",
        "STOP" + " " * 5000 + "\n" + "x" * 5000,
    ],
)
def test_the_first_line_counts_however_it_is_typed(text: str) -> None:
    assert WORDS.read(text) is not None


def test_the_subject_counts_where_there_is_no_text() -> None:
    for text in (None, "", " \r\n"):
        assert WORDS.read(text, "Stop") is not None
    assert WORDS.read("Thanks for the picture", "Stop") is None


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("ARRÊT", "arre\u0302t!"),
        ("İptal", "İPTAL"),
        ("İptal", "iptal"),
        ("Straße", "STRASSE"),
        ("停止", "「停止」"),
        ("रोकें", "रोकें।"),
        ("إيقاف", " إيقاف "),
        ("стоп", "СТОП"),
        ("STOP ALL", "stop   all"),
        ("opt-out", "Opt-Out"),
    ],
)
def test_words_of_other_languages(words: str, typed: str) -> None:
    chosen = Keywords(stop=parse_keywords(words, STOP_KEYWORDS, field="stop_keywords"))
    assert chosen.read(typed) is not None
    assert chosen.read("STOP") is None
    added = Keywords(stop=parse_keywords(f"+{words}", STOP_KEYWORDS, field="stop_keywords"))
    assert added.read(typed) is not None
    assert added.read("STOP") is not None


@pytest.mark.parametrize("value", [None, "", "  ", [], "[]", ",, ,"])
def test_nothing_given_is_the_default(value: object) -> None:
    assert parse_keywords(value, STOP_KEYWORDS, field="f") == STOP_KEYWORDS  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("BAJA, Parar", {"baja", "parar"}),
        (["BAJA", " Parar "], {"baja", "parar"}),
        ('["BAJA", "Parar"]', {"baja", "parar"}),
        ("baja\nparar", {"baja", "parar"}),
        ("+BAJA, PARAR", STOP_KEYWORDS | {"baja", "parar"}),
        ("BAJA, +PARAR", STOP_KEYWORDS | {"baja", "parar"}),
        (["+BAJA"], STOP_KEYWORDS | {"baja"}),
        ("none", set()),
        ("NONE", set()),
        (["None"], set()),
        ("none, stop", {"none", "stop"}),
    ],
)
def test_words_replace_or_are_added(value: str, words: set[str]) -> None:
    assert parse_keywords(value, STOP_KEYWORDS, field="f") == words


@pytest.mark.parametrize("value", ["[", '["a", 1]', [1], {"a": 1}, 17, True, "a, !!", "+", "x" * (MAX_LINE + 1), "[1]"])
def test_a_slip_names_its_field(value: object) -> None:
    with pytest.raises(InputError, match="stop_keywords"):
        parse_keywords(value, STOP_KEYWORDS, field="stop_keywords")  # type: ignore[arg-type]


def test_where_a_word_says_both_it_ends_messages() -> None:
    said = Keywords(stop=frozenset({"x"}), start=frozenset({"x"})).read("X")
    assert said is not None
    assert said.opted_out


def test_no_words_say_nothing() -> None:
    silent = Keywords(stop=frozenset(), start=frozenset())
    assert silent.read("STOP") is None
    assert silent.read("") is None


@given(st.text(max_size=MAX_LINE))
def test_a_folded_line_is_folded(text: str) -> None:
    once = fold(text)
    assert fold(once) == (once if len(once) <= MAX_LINE else "")


@given(st.text(string.ascii_letters, min_size=1, max_size=20), st.sampled_from([" {} ", "{}!", "'{}'", "{}\n\n--\nme"]))
def test_any_word_is_met_however_it_stands(word: str, around: str) -> None:
    assert (
        Keywords(stop=parse_keywords([word], STOP_KEYWORDS, field="f"), start=frozenset()).read(
            around.format(word.swapcase())
        )
        or word.casefold() == "none"
    )


@given(st.text())
def test_nothing_that_anybody_types_raises(text: str) -> None:
    said = WORDS.read(text, text)
    assert said is None or said.keyword in STOP_KEYWORDS | START_KEYWORDS
