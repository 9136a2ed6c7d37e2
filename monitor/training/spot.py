"""What interruptions add to work on spot machines: closed form, no dice. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from monitor.training.model import PRECISE, Spread

# Beyond this, work between two interruptions almost never reaches a checkpoint: e^20 attempts for each.
_MOST = Decimal(20)
_ONE = Decimal(1)
# P90 of a normal distribution, in standard deviations from its middle.
_P90 = Decimal("1.2816")
_MICRO = Decimal("1E-6")


@dataclass(frozen=True, slots=True)
class Interruptions:
    """How often a machine is taken away (per hour), how often work is saved, how long starting again takes (hours)."""

    per_hour: Decimal
    checkpoint_hours: Decimal
    restart_hours: Decimal

    @property
    def ever_ends(self) -> bool:
        """Whether work gets anywhere: not if it is interrupted many times between two checkpoints."""
        span = PRECISE.add(self.checkpoint_hours, self.restart_hours)
        return PRECISE.multiply(self.per_hour, span) <= _MOST

    def factor(self) -> Decimal:
        """Expected paid hours for one hour of work.

        J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation
        Computer Systems 22 (2006): M e^(R/M) (e^(t/M) - 1) / t with M the mean time between interruptions, t the
        interval between checkpoints and R the restart; writing one takes no time. Interruptions come at a constant
        rate (a Poisson process), and a restart is paid for like work.
        """
        if not self.per_hour:
            return _ONE
        interval = PRECISE.multiply(self.per_hour, self.checkpoint_hours)
        restart = PRECISE.multiply(self.per_hour, self.restart_hours)
        lost = PRECISE.divide(PRECISE.subtract(PRECISE.exp(interval), _ONE), interval)
        return max(_ONE, PRECISE.multiply(PRECISE.exp(restart), lost))

    def paid_hours(self, hours: Decimal) -> Spread:
        """How long so many hours of work take in the end, to a millionth: never less than that.

        The stretches between checkpoints are independent of each other, so their sum is taken as normal around
        `factor`. With T(s) the time until work has once gone on for s without a pause (mean M (e^(s/M) - 1), variance
        M^2 (e^(2s/M) - 2 s/M e^(s/M) - 1)), one stretch is what T(R + t) takes beyond T(R), which precedes it and is
        independent of it: its variance is the difference of theirs.
        """
        if not self.per_hour:
            return Spread.certain(hours)
        mean = PRECISE.multiply(hours, self.factor())
        one = PRECISE.subtract(
            self._variance(PRECISE.add(self.restart_hours, self.checkpoint_hours)), self._variance(self.restart_hours)
        )
        stretches = PRECISE.divide(hours, self.checkpoint_hours)
        away = PRECISE.multiply(_P90, PRECISE.sqrt(PRECISE.multiply(max(one, Decimal(0)), stretches)))
        around = Spread.through(PRECISE.subtract(mean, away), mean, PRECISE.add(mean, away))
        return around.map(lambda value: max(hours, value.quantize(_MICRO, context=PRECISE)))

    def _variance(self, hours: Decimal) -> Decimal:
        """Of the time until work has once gone on for so long, in square hours."""
        share = PRECISE.multiply(self.per_hour, hours)
        grown = PRECISE.exp(share)
        inner = PRECISE.subtract(
            PRECISE.multiply(grown, PRECISE.subtract(grown, PRECISE.multiply(Decimal(2), share))), _ONE
        )
        return PRECISE.divide(inner, PRECISE.multiply(self.per_hour, self.per_hour))
