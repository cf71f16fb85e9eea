"""Files as people really send them: each is refused in words that help, or has its bad rows rejected, and every row is
counted.
"""

import gzip
import io
import zipfile

import pytest

from domain.cohort import CohortStatus
from domain.cohort_file import LONGEST_RECORD_BYTES
from tests.workers.ingest.desk import Desk

ANN, BOB = "+14155550133", "+14155550134"
PLAIN = f"phone,name\n{ANN},Zoë\n{BOB},Bob\n"
LATER = "phone,name\n" + "".join(f"+1415556{index:04d},Somebody\n" for index in range(4000))


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, PLAIN)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "told"),
    [
        pytest.param(b"", "the file is empty", id="empty file"),
        pytest.param(b"\xef\xbb\xbf", "the file is empty", id="nothing but a BOM"),
        pytest.param(b"\r\n\n\r", "the file is empty", id="nothing but line ends"),
        pytest.param(b"phone,name\n", "no data row", id="header only"),
        pytest.param(b"phone,name", "no data row", id="header only, without a line end"),
        pytest.param(PLAIN.encode("utf-16"), "UTF-16", id="UTF-16 with BOM"),
        pytest.param(PLAIN.encode("utf-16-le"), "UTF-16", id="UTF-16 without BOM, little endian"),
        pytest.param(PLAIN.encode("utf-16-be"), "UTF-16", id="UTF-16 without BOM, big endian"),
        pytest.param(PLAIN.encode("latin-1"), "not UTF-8 text: line 2", id="latin-1"),
        pytest.param(b"phone,n\0me\n1,2\n", "NUL", id="NUL in the header"),
        pytest.param(PLAIN.encode() + b"\xed\xa0\x80\n", "not UTF-8 text: line 4", id="lone surrogate"),
        pytest.param(b'phone,"name\n1,2\n', "its columns are 'phone,\"name'", id="unclosed quote in the header"),
        pytest.param(b",".join(b"c%d" % n for n in range(10_000)) + b"\n1\n", "10000 columns", id="10,000 columns"),
        pytest.param(b",".join(b"column%d" % n for n in range(10_000)) + b"\n1\n", "longer than 64 KiB", id="wide"),
        pytest.param(b"phone,name,name\n1,2,3\n", "'name' more than once", id="duplicate headers"),
        pytest.param(gzip.compress(PLAIN.encode()), "gzip", id="gzip"),
        pytest.param(zipped("list.csv"), "zip archive", id="zip"),
        pytest.param(zipped("xl/workbook.xml"), "Excel workbook", id="xlsx"),
        pytest.param(b"\xd0\xcf\x11\xe0" + bytes(600), "old Excel workbook", id="xls"),
        pytest.param(b"%PDF-1.7\n", "PDF", id="PDF"),
        pytest.param(b"x" * 200_000, "longer than 64 KiB", id="one endless line"),
        pytest.param(b"phone\n" + b"x" * (LONGEST_RECORD_BYTES + 2), "line 2 is longer than 4 MiB", id="endless row"),
        pytest.param(f"{ANN},Ann\n{BOB},Bob\n".encode(), "no phone column", id="no header"),
    ],
)
def test_u2_a_file_that_is_no_csv_fails_with_words_that_help(desk: Desk, file: bytes, told: str) -> None:
    cohort = desk.with_limits(max_columns=100).read(desk.upload(file))

    assert cohort.status is CohortStatus.FAILED
    assert told in (cohort.error or "")
    assert ANN not in (cohort.error or "")
    assert (cohort.total_records, desk.states()) == (0, {})


@pytest.mark.parametrize(
    ("file", "rejected"),
    [
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), {}, id="BOM"),
        pytest.param(f"phone,name\r\n{ANN},Ann\r{BOB},Bob\n".encode(), {}, id="mixed line ends"),
        pytest.param(f"phone;name\r\n{ANN};Ann, Lee\r\n{BOB};".encode(), {}, id="semicolons and no last line end"),
        pytest.param(f'phone,name\n{ANN},"Ann\n\nLee"\n{BOB},"B ""b"""\n'.encode(), {}, id="quoted line ends"),
        pytest.param(
            f'phone,name\n{ANN},Ann\n+14155550135,"Eve\n{BOB},Bob\n'.encode(), {3: "malformed_quotes"}, id="open quote"
        ),
        pytest.param(
            f"phone,name\n{ANN},Ann\n{BOB},Bob\n+14155550135,{'x' * 1_000_000}\n".encode(),
            {4: "row_too_long"},
            id="1,000,000-character cell",
        ),
        pytest.param(
            f'phone,name\n{ANN},Ann\n{BOB},Bob\n+14155550135,"{"x" * 1_000_000}"\n'.encode(),
            {4: "row_too_long"},
            id="1,000,000-character cell in quotes",
        ),
        pytest.param(
            f"phone,name\n{ANN},Ann\n{BOB},Bob\n+14155550135{',x' * 10_000}\n".encode(),
            {4: "wrong_column_count"},
            id="10,000 cells in a row",
        ),
        pytest.param(f"phone,,\n{ANN},a,b\n{BOB},,\n".encode(), {}, id="columns without a name"),
        pytest.param(
            f"phone,name\n{ANN},\"=cmd|'/C calc'!A0\"\n{BOB},@x\n=1+1,+2\n".encode(),
            {4: "invalid_phone_number"},
            id="formula cells",
        ),
    ],
)
def test_u2_bad_rows_are_rejected_alone(desk: Desk, file: bytes, rejected: dict[int, str]) -> None:
    cohort_id = desk.upload(file)

    cohort = desk.read(cohort_id)

    assert cohort.status is CohortStatus.COMPLETED
    assert desk.rejected(cohort_id) == rejected
    assert set(desk.states()) == {ANN, BOB}
    assert cohort.total_records == cohort.valid_records + cohort.rejected_records == 2 + len(rejected)


@pytest.mark.parametrize("bad", [b"\xff", b"\0", b"\xed\xa0\x80", "Zoë".encode("latin-1")])
def test_bytes_that_are_no_text_far_into_a_file_reject_their_row_alone(desk: Desk, bad: bytes) -> None:
    cohort_id = desk.upload(LATER.encode() + f"{ANN},".encode() + bad + f"\n{BOB},Bob\n".encode())

    cohort = desk.with_limits(max_rows=10_000).read(cohort_id)

    assert cohort.status is CohortStatus.COMPLETED
    assert desk.rejected(cohort_id) == {4002: "not_text"}
    assert (cohort.total_records, cohort.valid_records) == (4002, 4001)


@pytest.mark.parametrize("last", [f"{ANN},Zo", ANN[:-1]])
def test_a_file_that_ends_inside_a_character_has_its_last_row_rejected_alone(desk: Desk, last: str) -> None:
    cohort_id = desk.upload(LATER.encode() + last.encode() + "ë".encode()[:1])

    cohort = desk.with_limits(max_rows=10_000).read(cohort_id)

    assert cohort.status is CohortStatus.COMPLETED
    assert desk.rejected(cohort_id) == {4002: "not_text"}
    assert (cohort.total_records, cohort.valid_records) == (4001, 4000)


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1"])
def test_a_cell_that_a_spreadsheet_would_run_is_neutralised_in_the_rejected_rows(desk: Desk, cell: str) -> None:
    cohort_id = desk.upload(f'phone,name\nnobody,"{cell}"\n')
    desk.read(cohort_id)

    assert f"'{cell}" in desk.rejected_csv(cohort_id)
