"""The language suites: spoken goals in held-out generated worlds, with ablations on the same episodes."""

from __future__ import annotations

import json
import math
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError, MmNavError
from mm_nav.evaluation.conditions import (
    CONDITIONS,
    check_conditions,
    condition_config,
    missing,
    pilot_factory,
    policy_factory,
)
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeResult, run_episode
from mm_nav.evaluation.metrics import mcnemar_exact, summarise
from mm_nav.evaluation.suites import Tasks, suite_episodes, suite_of
from mm_nav.evaluation.swap import swap_numbers
from mm_nav.parallel import Workers, run_jobs
from mm_nav.runtime.manifest import file_sha256
from mm_nav.runtime.policy import default_model
from mm_nav.sim.episode import make_episode
from mm_nav.sim.instructions import EXTRA_KINDS, KINDS, Split
from mm_nav.sim.life import LifeConfig
from mm_nav.sim.simulator import CameraConfig

# In suite `lidar_lost` navigator and guard drive on without scans for so long: slowly, then not at all.
BLIND_TIME_S = 30.0
DEFAULT_CONDITIONS = ("full", "no_language", "random_goal")


@dataclass(frozen=True)
class SuiteConfig:
    """What to run: seeds seed .. seed + episodes - 1, each under every condition.

    phrasing: "train" = the sentence forms that training used, "held_out" = others. kinds: of
    mm_nav.sim.instructions.KINDS or EXTRA_KINDS, taken in turn by seed. camera: width, height in pixels. suite: one of
    mm_nav.evaluation.suites.SUITES, which then decides phrasing and kinds (see `suite_config`); "" = by phrasing and
    kinds. phrases: templates of other people for suite "seen". variants: (condition, model file) of conditions that run
    another model. Raises ConfigError for values that cannot work.
    """

    seed: int = 10_000
    episodes: int = 100
    conditions: tuple[str, ...] = DEFAULT_CONDITIONS
    kinds: tuple[str, ...] = KINDS
    phrasing: Split = "train"
    time_limit_s: float = 120.0
    camera: tuple[int, int] = (192, 144)
    model: str = ""
    suite: str = ""
    phrases: tuple[str, ...] = ()
    variants: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.seed < 0 or self.episodes < 1:
            raise ConfigError(
                f"seed {self.seed} and {self.episodes} episodes: give a seed of 0 or above, and 1 episode or more"
            )
        check_conditions(self.conditions)
        if self.phrases and self.suite != "seen":
            raise ConfigError(
                f"phrases are for suite 'seen', not for '{self.suite or 'language'}': leave the suite out, or the phrases"
            )
        known = suite_of(self.suite).kinds if self.suite else (*KINDS, *EXTRA_KINDS)
        wrong = [name for name in self.kinds if name not in known]
        if wrong or not self.kinds:
            raise ConfigError(f"kinds {', '.join(wrong) or '(none)'} are not known: give some of {', '.join(known)}")
        if not self.time_limit_s > 0:
            raise ConfigError(f"the time limit is {self.time_limit_s} s: it must be above 0")

    def model_of(self, condition: str) -> Path | None:
        """Return the model file that a condition runs; None = the default."""
        name = dict(self.variants).get(condition, self.model)
        return Path(name) if name else None

    def kind(self, seed: int) -> str:
        """Return the kind of sentence of a seed, where no suite decides it."""
        return self.kinds[seed % len(self.kinds)]

    @property
    def turns(self) -> int:
        """How many episodes a seed has."""
        return suite_of(self.suite).turns if self.suite else 1


def suite_config(suite: str, **settings: Any) -> SuiteConfig:
    """Return the settings of a suite; `settings`: other fields of SuiteConfig. Raises ConfigError, also for an unknown
    suite."""
    return SuiteConfig(suite=suite, kinds=suite_of(suite).kinds, **settings)


def tasks_of(config: SuiteConfig, seed: int) -> Tasks:
    """Return the episodes of a seed, and their world."""
    if config.suite:
        return suite_episodes(config.suite, seed, config.phrases)
    episode, task = make_episode(seed, config.kind(seed), config.phrasing)
    return (episode,), task


@dataclass(frozen=True)
class Record:
    """One finished episode: its condition, and how it ended."""

    condition: str
    result: EpisodeResult

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        data = {"condition": self.condition, **self.result.as_dict()}
        for name in ("shortest_path_m", "distance_to_target_m"):
            data[name] = data[name] if math.isfinite(data[name]) else None
        return json.dumps(data, allow_nan=False)

    @staticmethod
    def from_line(line: str) -> Record:
        """Return the record of a line. Raises ConfigError or ValueError when it is none."""
        data = json.loads(line)
        condition = data.pop("condition")
        return Record(condition, EpisodeResult.from_dict(data))


def run_seed(config: SuiteConfig, seed: int, conditions: Sequence[str]) -> list[Record]:
    """Run one seed's episodes under each condition. An episode that crashes is a failure with error INTERNAL."""
    episodes, task = tasks_of(config, seed)
    episode_config = _episode_config(config)
    records = []
    for condition, episode in product(conditions, episodes):
        factory = policy_factory(condition, config.model_of(condition))
        settings = condition_config(condition, episode_config)
        try:
            result = run_episode(episode, task, factory, settings, None, pilot_factory(condition))
        except MmNavError:
            raise
        except Exception:
            # A crash of the stack is a failed episode, not the end of a night's run.
            reason = traceback.format_exc(limit=-3)
            result = EpisodeResult(
                seed, episode.kind, episode.instruction, False, False, 0.0, 0.0, math.inf, 0.0,
                int(ErrorCode.INTERNAL), "failed", reason, math.inf, 0, 0, 0, "",
            )  # fmt: skip
        records.append(Record(condition, result))
    return records


def _episode_config(config: SuiteConfig) -> EpisodeConfig:
    width, height = config.camera
    base = EpisodeConfig(time_limit_s=config.time_limit_s)
    base = replace(base, sim=replace(base.sim, camera=CameraConfig(width=width, height=height)))
    if not config.suite:
        return base
    suite = suite_of(config.suite)
    if suite.people:
        base = replace(base, sim=replace(base.sim, life=LifeConfig(people=suite.people)))
    if suite.lost == "lidar":
        base = replace(
            base,
            navigator=replace(base.navigator, blind_time_s=BLIND_TIME_S),
            guard=replace(base.guard, blind_time_s=BLIND_TIME_S),
        )
    return replace(base, lost=suite.lost)


def run_suite(
    config: SuiteConfig,
    workers: Workers | int | None = None,
    log: Path | None = None,
    resume: bool = False,
    on_record: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Run the suite and return all records, in the order of seeds and conditions.

    log: every record is appended there (JSON lines) as soon as its episode ends; with `resume`, what it holds is not
    run again. Raises ConfigError when the log belongs to other settings, and whatever a worker could not do.
    """
    done = _open_log(config, log, resume)
    for record in done.values():
        if on_record is not None:
            on_record(record)
    have = {(seed, condition) for seed, condition, _ in done}
    jobs = [
        (config, seed, missing)
        for seed in range(config.seed, config.seed + config.episodes)
        if (missing := [c for c in config.conditions if (seed, c) not in have])
    ]
    for record in chain.from_iterable(run_jobs(run_seed, jobs, workers)):
        done[_key(record)] = record
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(record.to_line() + "\n")
        if on_record is not None:
            on_record(record)
    order = {condition: i for i, condition in enumerate(config.conditions)}
    return sorted(done.values(), key=lambda r: (r.result.seed, order[r.condition], r.result.kind))


def summarise_suite(records: Sequence[Record], config: SuiteConfig) -> dict[str, Any]:
    """Return the suite's flat JSON.

    The keys of `summarise` are those of "full" (or of the first condition); other conditions carry their name in
    front, and so do kinds: success_rate, sequence_success_rate, no_language_success_rate,
    no_language_sequence_success_rate. p_value_<condition> is the exact McNemar test of success against the main
    condition on the same episodes.
    """
    main = "full" if "full" in config.conditions else config.conditions[0]
    data: dict[str, Any] = {"suite": config.suite or "language", "condition": main, "seed": config.seed}
    by_condition = {name: [r.result for r in records if r.condition == name] for name in config.conditions}
    for name in sorted(config.conditions, key=lambda c: c != main):
        prefix = "" if name == main else f"{name}_"
        results = by_condition[name]
        data.update({prefix + key: value for key, value in _numbers(results, config.seed).items()})
        for kind in config.kinds:
            of_kind = [r for r in results if r.kind == kind]
            data.update({f"{prefix}{kind}_{key}": value for key, value in _numbers(of_kind, config.seed).items()})
        if config.suite == "swap":
            data.update({prefix + key: value for key, value in swap_numbers(results).items()})
    wins = {(r.seed, r.kind): r.success for r in by_condition[main]}
    for name in config.conditions:
        if name != main:
            pairs = [(wins[r.seed, r.kind], r.success) for r in by_condition[name] if (r.seed, r.kind) in wins]
            data[f"p_value_{name}"] = mcnemar_exact([a for a, _ in pairs], [b for _, b in pairs])
    if not config.suite:
        data["phrasing"] = config.phrasing
    if config.phrases:
        data["phrases"] = len(config.phrases)
    data["time_limit_s"] = config.time_limit_s
    data["model"] = Path(config.model).name if config.model else ""
    return data


def _numbers(results: Sequence[EpisodeResult], seed: int) -> dict[str, Any]:
    numbers: dict[str, Any] = dict(summarise([r.outcome() for r in results], seed))
    numbers["crashes"] = sum(r.error_code == ErrorCode.INTERNAL for r in results)
    return numbers


def resolve_model(model: Path | None, conditions: Sequence[str]) -> str:
    """Return the model's path as the suite's setting; "" when no condition needs one. Raises when it is missing."""
    check_conditions(conditions)
    if all(CONDITIONS[name].model != "main" for name in conditions):
        return ""
    path = model or default_model()
    if not path.is_file():
        raise ConfigError(f"model {path} does not exist: give the path of an .onnx file made by `mm-nav export`")
    return str(path.absolute())


def resolve_variants(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (condition, model file) of each NAME=FILE. Raises ConfigError when there is no such condition or file."""
    found: dict[str, str] = {}
    own = [name for name, condition in CONDITIONS.items() if condition.model == "own"]
    for text in given:
        name, _, file = text.partition("=")
        if name not in own or not file:
            raise ConfigError(f"--variant is '{text}': give NAME=FILE, where NAME is one of {', '.join(own)}")
        if not Path(file).is_file():
            raise ConfigError(f"model {file} does not exist: give the path of an .onnx file made by `mm-nav export`")
        found[name] = file
    return tuple(found.items())


def runnable(conditions: Sequence[str], variants: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return for each condition why it cannot run; "" = it can."""
    return {name: missing(name, dict(variants)) for name in conditions}


def _key(record: Record) -> tuple[int, str, str]:
    return record.result.seed, record.condition, record.result.kind


# The number of episodes may grow, and conditions be added, from one run to the next.
_FREE = ("seed", "episodes", "conditions", "model", "variants")


def _open_log(config: SuiteConfig, log: Path | None, resume: bool) -> dict[tuple[int, str, str], Record]:
    if log is None:
        return {}
    settings = {k: v for k, v in asdict(config).items() if k not in _FREE}
    # Runs without a suite have the header that they had before there were suites.
    settings = {k: v for k, v in settings.items() if v or k not in ("suite", "phrases")}
    # Another model under the same name is another model; the same one elsewhere is the same.
    settings["model_sha256"] = file_sha256(Path(config.model)) if config.model else ""
    settings = json.loads(json.dumps(settings))
    variants = {name: file_sha256(Path(file)) for name, file in config.variants}
    done: dict[tuple[int, str, str], Record] = {}
    if resume and log.exists():
        lines = log.read_text(encoding="utf-8").split("\n")
        before = _header_of(lines[0])
        known = before.get("variants", {})
        if before.get("settings") != settings or any(known.get(k, v) != v for k, v in variants.items()):
            raise ConfigError(
                f"{log} was written with other settings: run without --resume, or give another --json file"
            )
        variants = {**known, **variants}
        for line in lines[1:-1]:  # what follows the last newline was cut off while it was written
            record = Record.from_line(line)
            seed = record.result.seed
            if config.seed <= seed < config.seed + config.episodes and record.condition in config.conditions:
                done[_key(record)] = record
        # Half a pair is no pair: both are run again.
        counts = Counter((seed, condition) for seed, condition, _ in done)
        done = {key: record for key, record in done.items() if counts[key[:2]] == config.turns}
        kept = [_header(settings, variants), *(line for line in lines[1:-1])]
        log.write_text("\n".join(kept) + "\n", encoding="utf-8")
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(_header(settings, variants) + "\n", encoding="utf-8")
    return done


def _header(settings: Mapping[str, Any], variants: Mapping[str, str]) -> str:
    return json.dumps({"settings": settings, **({"variants": variants} if variants else {})}, sort_keys=True)


def _header_of(line: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
