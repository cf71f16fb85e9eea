from importlib.resources import files

import pytest

from domain.cohort import plan
from domain.cohort_file import open_csv, read_csv
from domain.cohort_row import Draft, Rules, judge
from workers.ingest.sample import sample_csv


def test_two_hundred_rows_are_the_shipped_file() -> None:
    assert sample_csv(200) == files("workers").joinpath("sample.csv").read_bytes()


@pytest.mark.parametrize("contacts", [1, 17, 5000, 100_000])
def test_it_has_as_many_rows_as_asked_for(contacts: int) -> None:
    assert sample_csv(contacts).count(b"\n") == contacts + 1


def test_good_rows_have_unique_valid_numbers_but_for_the_duplicates_meant() -> None:
    file = sample_csv(5000)
    opening = open_csv(file, is_whole=True, max_columns=5)
    page = read_csv(file[opening.bytes_read :], opening.layout.delimiter, 2, ends_file=True, is_full=False)

    where = plan(opening.layout.header, None)
    drafts = [d for r in page.records if isinstance(d := judge(r, where, Rules("US", 4000)), Draft)]

    assert len(drafts) == 5000 * 192 // 200
    assert len({draft.phone for draft in drafts}) == 5000 * 190 // 200


@pytest.mark.parametrize("contacts", [0, 100_001])
def test_it_says_how_many_rows_it_can_give(contacts: int) -> None:
    with pytest.raises(ValueError, match="1 to 100000"):
        sample_csv(contacts)
