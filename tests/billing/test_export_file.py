"""The CSV of an upstream's usage export: what is read, and what is refused with its line."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from billing.reconciliation.columns import propose_columns, propose_unit
from billing.reconciliation.export_file import ExportError, ExportLine, Mapping, preview, read

NAMES = {
    "request_id": "id",
    "time": "at",
    "input_tokens": "in",
    "cached_tokens": "cached",
    "output_tokens": "out",
    "cost": "cost",
}
HEADER = "id,at,in,cached,out,cost\n"
AT = datetime(2026, 11, 30, 14, 5, tzinfo=UTC)


def lines(content: bytes | str, mapping: Mapping | None = None) -> list[ExportLine]:
    data = content.encode() if isinstance(content, str) else content
    # Byte by byte, as badly as a file can be split.
    chunks = [data[place : place + 1] for place in range(len(data))]
    found = list(read(chunks, mapping or Mapping(NAMES)))
    assert found == list(read([data], mapping or Mapping(NAMES)))
    return found


def line(fields: str, mapping: Mapping | None = None) -> ExportLine:
    (found,) = lines(HEADER + fields, mapping)
    return found


def problem(content: bytes | str, mapping: Mapping | None = None) -> str:
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(ExportError) as caught:
        list(read([data], mapping or Mapping(NAMES)))
    return str(caught.value)


def test_a_line_has_what_the_columns_say() -> None:
    assert line("r-1,2026-11-30T14:05:00Z,1000,200,50,0.00123\n") == ExportLine(
        2, "r-1", AT, False, "", 1000, 200, 50, 1_230_000
    )


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + HEADER + "é,2026-11-30,1,0,1,1\n",
        (HEADER + "é,2026-11-30,1,0,1,1\r\n").replace("\n", "\r\n").replace("\r\r", "\r"),
        HEADER.replace(",", "\t") + "é\t2026-11-30\t1\t0\t1\t1",
        HEADER.replace(",", "|") + "é|2026-11-30|1|0|1|1|\n\n",
        HEADER.replace(",", ";") + '"é";2026-11-30;1;0;1;1,0\n;;;;;\n',
    ],
)
def test_encodings_delimiters_and_blank_lines(content: str) -> None:
    for data in (content.encode(), content.removeprefix("\ufeff").encode("utf-16")):
        (found,) = list(read([data], Mapping(NAMES)))
        assert (found.request_id, found.cost_nanos, found.is_date) == ("é", 10**9, True)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-30T14:05:00Z", AT),
        ("2026-11-30 14:05:00", AT),
        ("2026-11-30 14:05:00 UTC", AT),
        ("2026-11-30T16:05:00+02:00", AT),
        ("1796047500", AT),
        ("1796047500123", AT),
        ("1796047500.5", AT),
        ("2026-11-30", AT.replace(hour=0, minute=0)),
    ],
)
def test_times(text: str, at: datetime) -> None:
    assert line(f"r,{text},1,0,1,1").at == at


@pytest.mark.parametrize(
    ("text", "unit_nanos", "nanos"),
    [
        ("0.0000012345", 10**9, 1235),
        ("0.0000000005", 10**9, 1),
        ("1.2e-05", 10**9, 12_000),
        ("$3", 10**9, 3 * 10**9),
        ("-0.5", 10**9, -(5 * 10**8)),
        ("12.5", 10**7, 125_000_000),
        ("1500", 1000, 1_500_000),
        ("2", 1_160_000_000, 2_320_000_000),
        ("", 10**9, None),
    ],
)
def test_costs_are_exact_in_their_unit(text: str, unit_nanos: int, nanos: int | None) -> None:
    assert line(f"r,2026-11-30,1,0,1,{text}", Mapping(NAMES, unit_nanos)).cost_nanos == nanos


def test_unknown_counts_are_not_zero() -> None:
    found = line("r,2026-11-30,,,7.0,")
    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (None, None, 7)


def test_cached_tokens_that_are_counted_separately_are_added() -> None:
    separate = Mapping(NAMES, cached_is_separate=True)
    assert line("r,2026-11-30,10,90,1,1", separate).input_tokens == 100


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("r,2026-11-30,-1,0,1,1", "Line 2: “-1” is not a number of input tokens."),
        ("r,2026-11-30,1,0,many,1", "Line 2: “many” is not a number of output tokens."),
        ("r,2026-11-30,9999999999999,0,1,1", "Line 2: “9999999999999” is not a number"),
        ("r,2026-11-30," + "9" * 5000 + ",0,1,1", "Line 2: “999"),
        ("r,2026-11-30,1,0,1,=1+1", "Line 2: “=1+1” is not an amount."),
        ("r,2026-11-30,1,0,1,NaN", "Line 2: “NaN” is not an amount."),
        ("r,2026-11-30,1,0,1,1e99", "Line 2: a cost of 1e99 is too large; is the unit right?"),
        ('r,2026-11-30,1,0,1,"1,234"', "Line 2: “1,234” is not an amount."),
        ("r,11/30/2026,1,0,1,1", "Line 2: “11/30/2026” is not a time; write it as"),
        ("r,1999-01-01,1,0,1,1", "Line 2: “1999-01-01” is not a time"),
        ("r,2026-11-30,1,5,1,1", "are cached tokens counted separately?"),
        ("r" * 201 + ",2026-11-30,1,0,1,1", "Line 2: the request id is longer than 200"),
        ("r,2026-11-30,1", "Line 2: has 3 fields; the header has 6."),
        ("r,2026-11-30,1,0,1,1,extra", "Line 2: has 7 fields; the header has 6."),
        ('"r,2026-11-30,1,0,1,1\n', "Line 2: unexpected end of data. Is a quote not closed?"),
        ("r\0,2026-11-30,1,0,1,1", "Line 2 has binary content."),
        ("\n\nr,2026-11-30,x,0,1,1", "Line 4: “x”"),
        ("x" * 300_000, "Line 2 is longer than 256 kB."),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(fields: str, words: str) -> None:
    assert words in problem(HEADER + fields)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"\n\n", "Line 1: the header is empty."),
        (HEADER.encode(), "The file has a header but no lines."),
        (b"id,at\nr,2026-11-30\n", "Line 1: the header has no column named “in”."),
        (b"id,id,at,in,cached,out,cost\n", "more than one column named “id”"),
        (b"," * 600 + b"\n", "Line 1: the header is empty."),
        (b"a," * 600 + b"\n", "Line 1: more than 500 columns."),
        (HEADER.encode() + b"a,2026-11-30,1,0,1,1\n\xff\xfe\n", "Line 3 is not UTF-8."),
    ],
)
def test_files_that_are_no_export(content: bytes, words: str) -> None:
    assert words in problem(content)


def test_a_field_must_be_mapped() -> None:
    without = {**NAMES, "output_tokens": ""}
    assert problem(HEADER, Mapping(without)) == "Choose the column of: output tokens."


def test_no_more_problems_are_listed_than_a_person_reads() -> None:
    told = problem(HEADER + "r,never,1,0,1,1\n" * 500).splitlines()
    assert (len(told), told[-1]) == (21, "There may be more.")
    assert told[19].startswith("Line 21: ")


def test_a_file_is_read_as_it_is_needed() -> None:
    def endless() -> Iterator[bytes]:
        yield HEADER.encode()
        while True:
            yield b"r,2026-11-30,1,0,1,1\n" * 100

    assert next(read(endless(), Mapping(NAMES))).number == 2
    assert len(preview(endless()).rows) == 5


@pytest.mark.parametrize(
    ("header", "wanted", "unit"),
    [
        (
            "created_at,generation_id,model_permaslug,tokens_prompt,tokens_completion,cost_total",
            {
                "request_id": "generation_id",
                "time": "created_at",
                "model": "model_permaslug",
                "input_tokens": "tokens_prompt",
                "output_tokens": "tokens_completion",
                "cost": "cost_total",
            },
            "dollar",
        ),
        (
            "Timestamp,Request ID,Model,Prompt Tokens,Cached Tokens,Completion Tokens,Cost (cents)",
            {
                "request_id": "Request ID",
                "time": "Timestamp",
                "model": "Model",
                "input_tokens": "Prompt Tokens",
                "cached_tokens": "Cached Tokens",
                "output_tokens": "Completion Tokens",
                "cost": "Cost (cents)",
            },
            "cent",
        ),
        ("when,what", {}, "dollar"),
    ],
)
def test_columns_are_proposed_from_the_header(
    header: str, wanted: dict[str, str], unit: str
) -> None:
    found = propose_columns(header.split(","))
    assert found == wanted
    assert propose_unit(found.get("cost", "")) == unit
