"""What interruptions add to work on spot machines: closed form, no dice. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from monitor.training.model import PRECISE

# Beyond this, work between two interruptions almost never reaches a checkpoint: e^20 attempts for each.
_MOST = Decimal(20)
_ONE = Decimal(1)


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
