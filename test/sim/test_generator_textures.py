"""Pictures of materials: the committed files are what the code draws, and they repeat without a seam."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.sim.cladding import MATERIALS
from mm_nav.sim.textures import SIDE, TEXTURES, copy_textures, draw_texture
from mm_nav.sim.vocabulary import MATERIAL_WORDS


@pytest.mark.parametrize("name", TEXTURES)
def test_committed_pictures_are_what_the_code_draws(name: str) -> None:
    committed = cv2.imread(str(resource_path(f"worlds/textures/{name}.png")))
    drawn = draw_texture(name)
    assert committed.shape == (SIDE, SIDE, 3)
    # Another FFT library may round a pixel to the next of the 40 levels.
    assert np.abs(committed[..., 0].astype(int) - drawn).max() <= 7
    assert 0.7 < drawn.mean() / 255 < 1.0 and drawn.std() > 2.0


@pytest.mark.parametrize("name", ["wood", "fabric", "carpet", "plaster", "metal", "leather"])
def test_pictures_repeat_without_a_seam(name: str) -> None:
    image = draw_texture(name).astype(float)
    for axis in (0, 1):
        inside = np.abs(np.diff(image, axis=axis)).mean()
        seam = np.abs(np.take(image, 0, axis) - np.take(image, -1, axis)).mean()
        assert seam < 1.5 * inside + 1.0


def test_every_material_has_a_picture() -> None:
    used = {material for choices, rest in MATERIALS.values() for material in (*choices, rest)}
    assert used <= set(TEXTURES) and set(MATERIAL_WORDS) <= set(TEXTURES)


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "textures").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        copy_textures(["wood"], tmp_path)
