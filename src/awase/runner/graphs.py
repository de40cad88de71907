"""A plain module as a file that needs nothing of this library: a graph of torch's own, or ONNX."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
"""A graph whose outputs differ from the module's by more, in absolute and relative terms together, is refused."""
BATCH = "batch"


def write_torch(module: nn.Module, samples: Sequence[Tensor], file: Path) -> float:
    """Writes the graph of `module` for batches of any size (`torch.export.load`); returns the largest difference.

    `samples` are inputs of a few rows. The graph is run on these and on one row, and compared with the module. Raises
    `ValueError` where the module has no such graph, or another one.
    """
    program = _program(module, samples)
    difference = _difference(module, samples, lambda inputs: program.module()(*inputs))
    with _silent():
        torch.export.save(program, file)
    return difference


def write_onnx(module: nn.Module, samples: Sequence[Tensor], file: Path, names: Sequence[str], output: str) -> float:
    """Writes `module` as ONNX with named inputs and output; otherwise as `write_torch`, checked with onnxruntime.

    Raises `ModuleNotFoundError` where ONNX is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "ONNX files need onnx, onnxscript and onnxruntime, which are not installed: pip install 'awase[export]'. "
            "--format torch needs nothing more."
        ) from error
    program = _program(module, samples)
    try:
        with _silent():
            made = torch.onnx.export(program, dynamo=True)
            assert made is not None, "without a file name the program is returned"
            _name(made.model, names, output)
            made.save(file)
    except Exception as error:
        raise ValueError(_refusal("ONNX", error)) from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> Tensor:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return _difference(module, samples, run)


def _program(module: nn.Module, samples: Sequence[Tensor]) -> Any:
    """The graph of the module in which only the number of rows is left open."""
    free = tuple({0: torch.export.Dim.DYNAMIC} for _ in samples)
    try:
        with _silent(), torch.no_grad():
            return torch.export.export(module, tuple(samples), dynamic_shapes=(free,))
    except Exception as error:
        raise ValueError(_refusal("a graph of torch", error)) from error


def _difference(module: nn.Module, samples: Sequence[Tensor], run: Callable[[Sequence[Tensor]], Tensor]) -> float:
    largest = 0.0
    for count in (len(samples[0]), 1):
        inputs = [value[:count] for value in samples]
        with torch.no_grad():
            expected, found = module(*inputs), run(inputs)
        if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise ValueError(
                f"The graph's outputs differ from the model's by {float((found - expected).abs().max()):.2g}, so it "
                "is not to be used; --format plain writes the model itself."
            )
        largest = max(largest, float((found - expected).abs().max()))
    return largest


def _name(model: Any, names: Sequence[str], output: str) -> None:
    """Names the inputs and the output, and `batch`, their first dimension, which the exporter numbers."""
    import onnx_ir

    ends = dict(zip((*model.graph.inputs, *model.graph.outputs), (*names, output), strict=True))
    for node in model.graph:
        for value in node.outputs:
            if value.name in ends.values():
                value.name = f"{value.name}_inside"
    for value, name in ends.items():
        value.name = name
        value.shape = onnx_ir.Shape([BATCH, *list(value.shape)[1:]])


def _refusal(what: str, error: Exception) -> str:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"This encoder cannot be written as {what}: {reason[:300]} ({type(error).__name__}). --format plain writes the "
        "model itself, --format peft its adapters; the built-in, ResNet and ViT encoders can be written as graphs."
    )


@contextlib.contextmanager
def _silent() -> Any:
    """The exporters print and warn about their own progress and future."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
