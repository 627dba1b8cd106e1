"""Stretches of a file without a copy, and what becomes of them when the file does."""

from __future__ import annotations

import os

import pytest

from mm_nav.bags import blocks
from mm_nav.bags.blocks import FileBytes, decompress


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(os.urandom(1_000_000))
    return path


@pytest.mark.parametrize(("offset", "length"), [(0, 100_000), (4096, 65_536), (12_345, 700_001), (999_990, 10), (5, 0)])
def test_a_view_is_what_reading_gives(file, offset, length):
    source = FileBytes(file)
    view = source.view(offset, length)
    assert bytes(view) == source.read(offset, length) == file.read_bytes()[offset : offset + length]
    source.close()
    assert bytes(view) == file.read_bytes()[offset : offset + length]  # it outlives the file's being open
    assert bytes(source.view(0, 100_000)) == file.read_bytes()[:100_000]


def test_a_view_of_a_file_that_shrank_is_what_is_left(file):
    source = FileBytes(file)
    assert len(source.view(0, 500_000)) == 500_000
    os.truncate(file, 300_000)
    assert len(source.view(200_000, 200_000)) == 100_000  # and not the end of the process


def test_without_the_systems_word_it_is_read(file, monkeypatch):
    monkeypatch.setattr(blocks, "_POPULATE_READ", 999)
    source = FileBytes(file)
    assert isinstance(source.view(0, 500_000), bytes) and isinstance(source.view(1, 500_000), bytes)


def test_zstd_frames_with_and_without_their_size(file):
    import zstandard

    content = file.read_bytes()[:100_000] * 3
    known = zstandard.ZstdCompressor().compress(content)
    streamed = zstandard.ZstdCompressor().compressobj()
    unknown = streamed.compress(content) + streamed.flush()
    for data in (known, unknown):
        assert decompress(data, "zstd", len(content)) == content
