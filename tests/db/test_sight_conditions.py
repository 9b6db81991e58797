"""Words are looked for in the same way on all databases."""

import pytest
import sqlalchemy as sql

from db.database import Database
from db.sight import conditions

HAVE = {
    ("É", "/CAFÉ"): True,
    ("é", "/café"): True,
    ("sample", "/SAMPLE"): True,
    ("SAMPLE É", "/sampleÉ"): True,
    ("É", "/cafe"): False,
    ("%", "/100"): False,
    ("\x00", "/any"): False,
    ("", "/any"): True,
}


@pytest.mark.parametrize(("words", "path"), HAVE)
def test_words_are_found_as_they_are_written_and_in_other_letters(
    database: Database, words: str, path: str
) -> None:
    has = sql.select(conditions.has_words(words, sql.literal(path)))
    assert database.read(lambda connection: bool(connection.scalar(has))) == HAVE[words, path]
