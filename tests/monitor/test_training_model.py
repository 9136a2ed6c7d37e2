"""Figures that are not certain: quantiles, and sums of them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from monitor.training.model import Spread, sum_of_dependent, sum_of_independent

P10, P50, P90 = Decimal("0.1"), Decimal("0.5"), Decimal("0.9")
amounts = st.decimals(min_value=0, max_value=10**9, places=2)
three = st.tuples(amounts, amounts, amounts).map(sorted)


def spread(values: list[Decimal]) -> Spread:
    return Spread.through(*values)


@given(three)
def test_it_goes_through_its_quantiles(values: list[Decimal]) -> None:
    found = spread(values)
    assert [found.quantile(share) for share in (P10, P50, P90)] == values


def test_a_certain_figure_has_one_value_and_so_has_a_sum_of_such() -> None:
    known = [Spread.certain(Decimal("54.00")), Spread.certain(Decimal("16385.00"))]
    for total in (sum_of_independent(known), sum_of_dependent(known)):
        assert total.values == (Decimal("16439.00"),)
        assert total.is_certain


@given(three, three)
def test_doubts_that_go_together_add_up_and_others_cancel_in_part(one: list[Decimal], other: list[Decimal]) -> None:
    both = [spread(one), spread(other)]
    together, apart = sum_of_dependent(both), sum_of_independent(both)
    assert together.quantile(P90) == one[2] + other[2]
    assert together.quantile(P50) == one[1] + other[1]
    for total in (together, apart):
        assert total.values == tuple(sorted(total.values))
        assert total.values[0] == both[0].values[0] + both[1].values[0]
        assert total.values[-1] == both[0].values[-1] + both[1].values[-1]


def test_independent_doubts_are_smaller_than_their_sum() -> None:
    one = Spread.through(Decimal(80), Decimal(100), Decimal(120))
    total = sum_of_independent([one] * 4)
    assert Decimal(400) - Decimal(1) < total.quantile(P50) < Decimal(400) + Decimal(1)
    # Four independent errors of 20 make one of 40, not of 80.
    assert Decimal(430) < total.quantile(P90) < Decimal(450)
