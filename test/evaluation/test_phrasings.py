"""Files of other people's phrasings, and putting a thing's name into one."""

from __future__ import annotations

import pytest

from mm_nav.errors import ConfigError
from mm_nav.evaluation.phrasings import fill, phrasing_of, read_phrases


@pytest.mark.parametrize(
    ("template", "phrase", "text"),
    [
        ("go to {object}", "the red box", "go to the red box"),
        ("go to {object}", "red box", "go to the red box"),
        ("go to {object}", "a red box", "go to a red box"),
        ("go to the {object} now", "a red box", "go to the red box now"),
        ("go to the nearby {object}", "the red box", "go to the nearby red box"),
        ("{object}? drive to that {object}", "any box", "any box? drive to that box"),
        ("go {x} to {object} {0}", "the box", "go {x} to the box {0}"),
    ],
)
def test_the_name_gets_an_article_where_the_template_has_none(template, phrase, text):
    assert fill(template, phrase) == text


def test_templates_are_read_in_order_without_blanks_and_comments(tmp_path):
    file = tmp_path / "p.txt"
    file.write_bytes("\ufeffgo to {object}\r\n\n# mine\n  café by {object}  \n".encode())
    assert read_phrases(file) == ("go to {object}", "café by {object}")


@pytest.mark.parametrize(
    ("content", "where", "words"),
    [
        (b"go to {object}\ngo there\n", ":2", "has no {object}"),
        (b"", ":1", "no templates"),
        (b"# only this\n\n", ":1", "no templates"),
        (b"go to {object}\n\x89PNG\r\n\x1a\n\x00\xff", ":2", "not UTF-8"),
        (b"go to {object}\x00\n", ":1", "control characters"),
        (b"go to {object} " + b"x" * 10_000 + b"\n", ":1", "10015 characters"),
        (b"{object} " * 20, ":1", "too many"),
        (b"go to {object}\n" * 100_000, "", "larger than"),
        (None, "", "No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, content, where, words):
    file = tmp_path / "p.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_phrases(file)
    assert f"{file}{where}" in str(caught.value) and words in str(caught.value)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_phrases(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_templates_take_turns_and_each_meets_every_kind(count):
    phrases = tuple(f"{i} {{object}}" for i in range(count))
    met = {(phrasing_of(phrases, seed), seed % 3) for seed in range(5000, 5000 + 9 * count)}
    assert len(met) == 3 * count
    for begin in range(5000 - 5000 % count, 5030, count):
        assert {phrasing_of(phrases, seed) for seed in range(begin, begin + count)} == set(phrases)
