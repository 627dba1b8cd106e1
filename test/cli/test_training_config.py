"""Training settings from YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mm_nav.cli.training_config import read_sections
from mm_nav.config_file import from_mapping
from mm_nav.errors import ConfigError
from mm_nav.learning.collect import CollectConfig
from mm_nav.learning.dagger import DaggerConfig
from mm_nav.policy.config import PolicyConfig


@dataclass(frozen=True)
class Sample:
    """A section."""

    steps: int = 5
    rate: float = 0.1
    name: str = "x"
    shape: tuple[int, int] = (1, 2)


def write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_committed_config_fits():
    path = Path(__file__).parents[2] / "config/train/tiny.yaml"
    sections = read_sections(path)
    collect = from_mapping(CollectConfig, sections["collect"], "collect")
    dagger = from_mapping(DaggerConfig, sections["dagger"], "dagger")
    assert collect.worlds > 100 and dagger.first_seed >= collect.first_seed + collect.worlds
    shape = PolicyConfig(language_parts=True, hue_width=32)
    assert from_mapping(PolicyConfig, sections["policy"], "policy") == shape


@pytest.mark.parametrize("name", ["small", "late_fusion", "no_dagger"])
def test_the_other_configs_fit_and_go_on_from_tiny(name):
    torch_free = read_sections(Path(__file__).parents[2] / f"config/train/{name}.yaml")
    policy = from_mapping(PolicyConfig, torch_free["policy"], "policy")
    assert policy.hue_width == 32 and policy.language_parts
    assert torch_free["train"]["init"].startswith("models/tiny")


def test_values_are_taken_and_the_rest_is_default():
    out = from_mapping(Sample, {"steps": 7.0, "rate": 1, "shape": [3, 4]}, "f.yaml: s")
    assert out == Sample(7, 1.0, "x", (3, 4)) and isinstance(out.steps, int) and isinstance(out.rate, float)
    assert from_mapping(Sample, {}, "f.yaml: s") == Sample()


@pytest.mark.parametrize("wrong", [{"stepz": 1}, {"steps": "many"}, {"steps": 1.5}, {"rate": True}, {"name": 3}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=rf"f\.yaml.*s\.{next(iter(wrong))}"):
        from_mapping(Sample, wrong, "f.yaml: s")


@pytest.mark.parametrize("text", ["- 1\n- 2", "colect: {}", "collect: 3", "collect: [", "a: b: c"])
def test_wrong_files_are_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="yaml"):
        read_sections(write(tmp_path, text))


def test_missing_file_is_refused_and_an_empty_one_is_all_default(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sections(tmp_path / "none.yaml")
    assert read_sections(write(tmp_path, "")) == {"collect": {}, "dagger": {}, "train": {}, "policy": {}}
