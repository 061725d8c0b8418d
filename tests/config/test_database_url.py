"""Django reads DATABASE_URL as the relay's connections do: by libpq's rules."""

import psycopg
import pytest

from config.database import PLANNER, database_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40w@h:5433/db", ("db", "u", "p@w", "h", "5433")),
        ("postgresql:///db?host=/run/a%20b&user=u", ("db", "u", "", "/run/a b", "")),
        ("postgresql://u@h1:1,h2:2/db", ("db", "u", "", "h1,h2", "1,2")),
        ("postgresql://u@[::1]:5/db", ("db", "u", "", "::1", "5")),
        ("postgresql://u@h", ("tollgate", "u", "", "h", "")),
    ],
    ids=["host", "socket", "several hosts", "IPv6", "no name"],
)
def test_a_url_names_thedatabase_of(url: str, expected: tuple[str, ...]) -> None:
    database = database_of(url)
    assert tuple(database[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")) == expected


def test_the_query_holds_parameters_of_libpq() -> None:
    options = database_of("postgresql://u@h/db?sslmode=require&options=-c%20lock_timeout%3D1")[
        "OPTIONS"
    ]
    assert isinstance(options, dict)
    assert options["sslmode"] == "require"
    assert options["options"] == f"{PLANNER} -c lock_timeout=1"


def test_a_text_that_is_no_connection_string_is_refused() -> None:
    with pytest.raises(psycopg.ProgrammingError):
        database_of("nonsense")
