"""Sentences name what they should, and the held-out ones are not among the trained."""

import numpy as np
import pytest

from mm_nav.language import parse_instruction
from mm_nav.sim import instructions
from mm_nav.sim.generator import generate_world
from mm_nav.sim.instructions import KINDS, described_objects, matching, other_description, sample_instruction

OBJECTS = generate_world(21).objects


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_target_satisfies_its_sentence(kind: str, split: str) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        target = OBJECTS[rng.integers(len(OBJECTS))]
        instruction = sample_instruction(rng, target, OBJECTS, kind, split)
        assert target.name in instruction.target_names
        assert len(instruction.steps) == len(instruction.phrases) == (2 if kind == "sequence" else 1)
        assert instruction.phrases[-1].split()[-1] in instruction.text


def test_sequences_are_parsed_into_the_steps_they_were_made_from() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        target = OBJECTS[rng.integers(len(OBJECTS))]
        instruction = sample_instruction(rng, target, OBJECTS, "sequence")
        steps = parse_instruction(instruction.text)
        assert len(steps) == 2, instruction.text
        for step, wanted in zip(steps, instruction.phrases, strict=True):
            assert step.phrase.split()[-1] == wanted.split()[-1], instruction.text


def test_splits_share_no_template() -> None:
    assert not set(instructions.TRAIN_TEMPLATES) & set(instructions.HELD_OUT_TEMPLATES)
    assert not set(instructions.SEQUENCE_TEMPLATES) & set(instructions.HELD_OUT_SEQUENCE_TEMPLATES)
    assert len(instructions.TRAIN_TEMPLATES) >= 40 and len(instructions.HELD_OUT_TEMPLATES) >= 15


def test_another_description_fits_none_of_the_targets() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        phrase = other_description(rng, OBJECTS, [OBJECTS[0].name])
        assert OBJECTS[0] not in described_objects(phrase, OBJECTS)


def test_described_objects_reads_synonyms() -> None:
    item = OBJECTS[0]
    words = instructions.CATEGORY_WORDS[item.category]
    for word in words:
        found = described_objects(f"the {item.colour} {word}", OBJECTS)
        assert [o.name for o in found] == list(matching(OBJECTS, item.category, item.colour))
    assert described_objects("the elephant", OBJECTS) == ()
