"""From a model to GPU-hours: the arithmetic of its training, and what share of their peak GPUs reach. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache

from monitor.training.catalog import book_text
from monitor.training.model import PRECISE, Gpu, Spread

# What dense training has been seen to reach, with room on both sides; outside of it something is miscounted.
LOWEST_MFU = Decimal("0.03")
HIGHEST_MFU = Decimal("0.65")
# ln(433/667) / ln(11616/512): MLPerf Training v3.0, GPT-3 took 433 GPU-hours on 512 H100 and 667 on 11,616.
_LOSS_AT_SCALE = Decimal("-0.138")
_FLOP_PER_TERA_HOUR = Decimal("3.6E15")
_HALF = Decimal("0.5")
_MICRO = Decimal("1E-6")
_LIKE_OTHERS = "H100"


class Precision(StrEnum):
    """Of the matrix products."""

    BF16 = "bf16"
    FP8 = "fp8"


@dataclass(frozen=True, slots=True)
class Measured:
    """MFU of measured runs on up to so many GPUs of some models."""

    gpus: frozenset[str]
    precision: Precision
    up_to: int
    runs: int
    quantiles: tuple[Decimal, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Training:
    """A dense decoder and what it is trained on. `params`: those active per token.

    `layers`, `width` and `context` add attention; `mfu` None: as measured elsewhere.
    """

    params: Decimal
    tokens: Decimal
    mfu: Decimal | None = None
    layers: int | None = None
    width: int | None = None
    context: int | None = None
    precision: Precision = Precision.BF16

    @property
    def flops_per_token(self) -> Decimal:
        """6 N, and 12 x layers x width x context for attention where these are stated."""
        dense = PRECISE.multiply(Decimal(6), self.params)
        if self.layers is None or self.width is None or self.context is None:
            return dense
        return PRECISE.add(dense, Decimal(12 * self.layers * self.width * self.context))


def gpu_hours(training: Training, gpu: Gpu, gpus: int) -> tuple[Spread, tuple[str, ...]]:
    """GPU-hours on so many GPUs, to a millionth, and what is to be said of them.

    Raises ValueError for FP8 on a GPU without it.
    """
    peak = gpu.bf16_tflops if training.precision is Precision.BF16 else gpu.fp8_tflops
    if peak is None:
        raise ValueError(f"the {gpu.name} has no FP8; leave precision out")
    flops = PRECISE.multiply(training.flops_per_token, training.tokens)
    at_peak = PRECISE.divide(flops, PRECISE.multiply(peak, _FLOP_PER_TERA_HOUR))
    mfu, said = mfu_of(training, gpu, gpus)
    return mfu.map(lambda share: PRECISE.divide(at_peak, share).quantize(_MICRO, context=PRECISE)), said


def mfu_of(training: Training, gpu: Gpu, gpus: int) -> tuple[Spread, tuple[str, ...]]:
    """The share of the peak that is reached: as stated, else as measured on a GPU like this and about that many."""
    if training.mfu is not None:
        return Spread.certain(training.mfu), ()
    row = _row_for(gpu, training.precision, gpus)
    low, middle, high = row.quantiles
    beyond = PRECISE.divide(Decimal(gpus), Decimal(row.up_to))
    said = [f"MFU from {row.runs} measured runs on up to {row.up_to} GPUs"]
    if gpu.name not in row.gpus:
        said.append(f"MFU of the {gpu.name} is not measured here: taken from the {_LIKE_OTHERS}")
    if beyond > 1:
        # How efficiency falls with scale is known from one benchmark: fully believed only where it hurts.
        low = PRECISE.multiply(low, PRECISE.power(beyond, _LOSS_AT_SCALE))
        middle = PRECISE.multiply(middle, PRECISE.power(beyond, PRECISE.multiply(_LOSS_AT_SCALE, _HALF)))
        said.append("beyond the measured scale: efficiency falls with the number of GPUs")
    spread = Spread.through(low, middle, high)
    return spread.map(lambda share: min(max(share, LOWEST_MFU), HIGHEST_MFU)), tuple(said)


@cache
def measured() -> Sequence[Measured]:
    """Every row that ships, by precision, from few GPUs to many."""
    rows = tomllib.loads(book_text("mfu"))["mfu"]
    found = [
        Measured(
            gpus=frozenset(row["gpus"]),
            precision=Precision(row["precision"]),
            up_to=row["up_to"],
            runs=row["runs"],
            quantiles=(Decimal(row["p10"]), Decimal(row["p50"]), Decimal(row["p90"])),
        )
        for row in rows
    ]
    return sorted(found, key=lambda row: (row.precision, row.up_to))


def _row_for(gpu: Gpu, precision: Precision, gpus: int) -> Measured:
    rows = [row for row in measured() if row.precision is precision]
    name = gpu.name if any(gpu.name in row.gpus for row in rows) else _LIKE_OTHERS
    fitting = [row for row in rows if name in row.gpus]
    return next((row for row in fitting if gpus <= row.up_to), fitting[-1])
