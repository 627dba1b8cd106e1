"""The sentence encoder is the real one: synonyms lie closer than other words."""

import numpy as np
import numpy.typing as npt
import pytest

from mm_nav.language.encoder import WIDTH, TextEncoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(tokens=24)


def sentence(encoder: TextEncoder, text: str) -> npt.NDArray[np.float64]:
    embedding, mask = encoder.encode(text)
    mean = (embedding * mask[:, None]).sum(0) / mask.sum()
    return np.asarray(mean / np.linalg.norm(mean), np.float64)


def test_shapes_and_mask(encoder: TextEncoder) -> None:
    embedding, mask = encoder.encode("the red barrel")
    assert embedding.shape == (24, WIDTH) and embedding.dtype == np.float32
    assert mask.tolist() == [1.0] * 5 + [0.0] * 19
    assert not embedding[5:].any() and np.isfinite(embedding).all()


def test_synonyms_are_near(encoder: TextEncoder) -> None:
    sofa = sentence(encoder, "the sofa")
    assert sofa @ sentence(encoder, "the couch") > sofa @ sentence(encoder, "the barrel") + 0.1


def test_case_and_spaces_do_not_matter(encoder: TextEncoder) -> None:
    assert encoder.encode("The  Red Barrel ")[0] is encoder.encode("the red barrel")[0]


def test_no_words_are_masked_out(encoder: TextEncoder) -> None:
    embedding, mask = encoder.encode("")
    assert not embedding.any() and not mask.any()


def test_long_phrases_are_cut(encoder: TextEncoder) -> None:
    _, mask = encoder.encode("very " * 100 + "red barrel")
    assert mask.sum() == 24


def test_a_thing_and_its_colour_are_read_one_by_one(encoder: TextEncoder) -> None:
    parts = TextEncoder(tokens=24, parts=True)
    embedding, mask = parts.encode("the barrel that is red")
    thing, of_thing = encoder.encode("the barrel")
    colour, of_colour = encoder.encode("the red thing")
    n, m = int(of_thing.sum()), int(of_colour.sum())
    np.testing.assert_array_equal(embedding[:n], thing[:n])
    np.testing.assert_array_equal(embedding[n : n + m], colour[:m])
    assert mask.sum() == n + m
    np.testing.assert_array_equal(parts.encode("the barrel")[0], thing)


def test_of_a_long_description_the_colour_is_kept(encoder: TextEncoder) -> None:
    parts = TextEncoder(tokens=24, parts=True)
    embedding, mask = parts.encode("the very " + "old " * 100 + "barrel that is red")
    colour, of_colour = encoder.encode("the red thing")
    m = int(of_colour.sum())
    assert mask.sum() == 24
    np.testing.assert_array_equal(embedding[24 - m :], colour[:m])
