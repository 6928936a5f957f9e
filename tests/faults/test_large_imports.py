"""The long run of an import with few rows, and what its checks see."""

from msgspec.structs import replace

from kasuwa.domain.exchange.seen import SeenCodes
from tests.faults.installation import new_folder
from tests.faults.large_imports import MOST_GROWTH_BYTES, growth_faults, import_rows

ROWS = 1_205


def test_every_row_of_a_file_is_stored_and_the_checks_see_when_not() -> None:
    with new_folder() as folder:
        ended = import_rows(folder / "data", ROWS)
    assert ended.faults() == []
    assert ended.peak_pss_bytes > 0
    # The controls.
    assert replace(ended, stored=ROWS - 1).faults() != []
    assert replace(ended, status="failed").faults() != []
    assert growth_faults(ended, ended) == []
    grown = replace(ended, peak_rss_bytes=ended.peak_rss_bytes + MOST_GROWTH_BYTES + 1)
    assert len(growth_faults(ended, grown)) == 1


def test_codes_that_were_seen_are_those_of_a_set() -> None:
    seen, known = SeenCodes(), set()
    for number in range(20_000):
        kind, code = ("sku", "barcode")[number % 2], str(number * 7919 % 6_007)
        assert seen.add(kind, code) is ((kind, code) not in known)
        known.add((kind, code))
