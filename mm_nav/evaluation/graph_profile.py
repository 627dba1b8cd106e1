"""What an ONNX model costs: parameters, operations and bytes of each operator, its time here, and what another device might take.

Shapes and times are ONNX Runtime's own profile of a run, so that any model can be looked at. Operations are counted in the graph
before the runtime lays tensors out for this processor; times are those of the graph as it really runs.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mm_nav.errors import ConfigError, ModelError
from mm_nav.runtime.edge import Hardware
from mm_nav.runtime.session import open_session

Shape = tuple[int, ...]
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
# Operations for each element that comes out. Functions are counted as a few dozen instructions take them.
_PER_ELEMENT = {
    "Add": 1, "Sub": 1, "Mul": 1, "Div": 1, "Relu": 1, "Clip": 2, "Where": 1, "Max": 1, "Min": 1, "Sqrt": 2, "Reciprocal": 1,
    "Exp": 8, "Log": 8, "Erf": 12, "Sin": 8, "Cos": 8, "Atan": 10, "Sigmoid": 10, "Tanh": 10, "Pow": 10, "Softmax": 10,
    "LayerNormalization": 8, "BatchNormalization": 2, "HardSigmoid": 3, "HardSwish": 4, "Gelu": 14, "CumSum": 1, "Greater": 1,
    "Less": 1, "IsNaN": 1,
}  # fmt: skip
_PER_INPUT = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceLogSumExp", "GlobalAveragePool", "AveragePool", "MaxPool")
# What only says how memory is to be read moves nothing.
_FREE = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Expand")
# What a compiler for GPUs makes a kernel of its own for; the rest is fused into these.
_KERNELS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Softmax",
    "LayerNormalization",
    "ReduceLogSumExp",
    "ReduceMax",
    "CumSum",
    "Resize",
)


@dataclass(frozen=True)
class Operator:
    """One node. flops: operations, a multiply-add being two. elements: numbers read and written, its parameters included.
    parameters: numbers that are the model's."""

    name: str
    kind: str
    flops: float
    elements: int
    parameters: int

    def bytes_moved(self, precision: str) -> int:
        """Bytes read and written at a precision, if nothing stays in a cache."""
        return self.elements * BYTES[precision]


@dataclass(frozen=True)
class GraphProfile:
    """operators: as counted. parameters: numbers in the model. times: (runs,) ms of whole runs here. by_kind: ms of one run
    spent in each kind of operator here, as the runtime fuses them."""

    operators: tuple[Operator, ...]
    parameters: int
    times: npt.NDArray[np.float64]
    by_kind: Mapping[str, float]

    @property
    def flops(self) -> float:
        """Operations of one run."""
        return sum(operator.flops for operator in self.operators)


@dataclass(frozen=True)
class Estimate:
    """What one run might take on a device, ms. compute, memory: at the shares of the peaks that are assumed, each operator at
    whichever takes it longer. launch: of its kernels. bound: at the full peaks, without launches: no device of this kind is
    faster."""

    compute: float
    memory: float
    launch: float
    bound: float

    @property
    def total(self) -> float:
        """The estimate, ms."""
        return self.compute + self.memory + self.launch


def profile_graph(model: Path, phrases: int = 1, runs: int = 50, threads: int = 1) -> GraphProfile:
    """Count and time an ONNX model on this machine. phrases: size of every axis that the model leaves open.

    Raises ModelError for a file that is no usable model or reads what cannot be made up.
    """
    if phrases < 1 or runs < 1:
        raise ConfigError(f"phrases is {phrases} and runs {runs}: give 1 or more")
    feed = _made_up(open_session(model, ["CPUExecutionProvider"], threads), model, phrases)
    counted, _ = _traced(model, feed, 1, threads, as_written=True)
    operators = tuple(_operator(event) for event in counted)
    traced, times = _traced(model, feed, runs, threads, as_written=False)
    by_kind: dict[str, float] = {}
    for event in traced:
        kind = event["args"]["op_name"]
        by_kind[kind] = by_kind.get(kind, 0.0) + event["dur"] / 1e3 / runs
    parameters = sum(operator.parameters for operator in operators)
    return GraphProfile(operators, parameters, times, by_kind)


def estimate(profile: GraphProfile, hardware: Hardware, precision: str) -> Estimate:
    """Return what the model might take on a device: a roofline (Williams, Waterman and Patterson, 2009), operator by operator."""
    peak, bandwidth = hardware.peak(precision), 1e9 * hardware.memory_gb_s
    compute = memory = bound = 0.0
    for operator in profile.operators:
        by_compute, by_memory = operator.flops / peak, operator.bytes_moved(precision) / bandwidth
        bound += max(by_compute, by_memory)
        by_compute, by_memory = by_compute / hardware.compute_share, by_memory / hardware.memory_share
        if by_compute >= by_memory:
            compute += by_compute
        elif operator.kind in _KERNELS or operator.kind not in _PER_ELEMENT:
            # What is fused into a kernel reads what that one just wrote.
            memory += by_memory
    kernels = sum(operator.kind in _KERNELS for operator in profile.operators)
    return Estimate(1e3 * compute, 1e3 * memory, 1e-3 * hardware.launch_us * kernels, 1e3 * bound)


def _made_up(session: onnxruntime.InferenceSession, model: Path, phrases: int) -> dict[str, npt.NDArray[Any]]:
    rng, kinds = np.random.default_rng(0), {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8,
                                            "tensor(float16)": np.float16, "tensor(bool)": np.bool_}  # fmt: skip
    feed: dict[str, npt.NDArray[Any]] = {}
    for item in session.get_inputs():
        if item.type not in kinds:
            raise ModelError(
                f"{model}: input {item.name} is a {item.type}: it can only be made up for {', '.join(kinds)}"
            )
        shape = [size if isinstance(size, int) and size > 0 else phrases for size in item.shape]
        feed[item.name] = rng.random(shape).astype(kinds[item.type])
    return feed


def _traced(
    model: Path,
    feed: Mapping[str, npt.NDArray[Any]],
    runs: int,
    threads: int,
    as_written: bool,
) -> tuple[list[dict[str, Any]], npt.NDArray[np.float64]]:
    """Return the runtime's events of all operators in `runs` runs, and how long each run took, ms."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(
            model, ["CPUExecutionProvider"], threads, profile=Path(folder) / "run", as_written=as_written
        )
        for _ in range(runs + 1):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    whole = [event for event in events if event["name"] == "model_run"]
    # The first run is a warm-up: it allocates.
    began = whole[1]["ts"]
    nodes = [event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]]
    kept = [event for event in nodes if event["ts"] >= began and event["name"].endswith("_kernel_time")]
    return kept, np.array([event["dur"] / 1e3 for event in whole[1:]])


def _operator(event: Mapping[str, Any]) -> Operator:
    args = event["args"]
    name, kind = event["name"].removesuffix("_kernel_time"), args["op_name"]
    given, out = _shapes(args["input_type_shape"]), _shapes(args["output_type_shape"])
    # Whole numbers are shapes and axes, not what was learned.
    whole = sum(8 * math.prod(shape) for item in args["input_type_shape"] for t, shape in item.items() if t == "int64")
    parameters = max(0, int(args.get("parameter_size", 0)) - whole) // 4
    made = sum(math.prod(shape) for shape in out)
    if kind in _FREE:
        return Operator(name, kind, 0.0, 0, parameters)
    elements = made + sum(math.prod(shape) for shape in given)
    return Operator(name, kind, _flops(kind, given, out, made), elements, parameters)


def _flops(kind: str, given: Sequence[Shape], out: Sequence[Shape], made: int) -> float:
    if kind == "Conv":
        return 2.0 * made * math.prod(given[1][1:]) + (made if len(given) > 2 else 0)
    if kind == "MatMul":
        return 2.0 * made * given[0][-1]
    if kind == "Gemm":
        inner = math.prod(given[0]) // max(1, out[0][0])
        return 2.0 * made * inner + (made if len(given) > 2 else 0)
    if kind in _PER_INPUT:
        return float(math.prod(given[0]))
    return float(_PER_ELEMENT.get(kind, 0) * made)


def _shapes(described: Sequence[Mapping[str, Sequence[int]]]) -> list[Shape]:
    return [tuple(shape) for item in described for shape in item.values()]
