"""An empty picture and how it becomes a file: legible on a telephone, in print and without colours, always the same.

A picture is five inches wide with letters of ten points: shown 360 pixels wide they are ten pixels high.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import ExitCode, MissingExtraError, UserError
from monitor.rights import unwritable

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from numpy.typing import NDArray

WIDTH = 5.0
# Of the palette of Okabe and Ito, which people of every colour vision can tell apart; each has a form of its own too.
BLUE, ORANGE, GREEN, PURPLE, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#595959"

_FORMATS = {".svg": "svg", ".png": "png"}
_DOTS_PER_INCH = 200
_MILLION = 10**6
_FEW_DAYS, _MANY_DAYS = 4, 300
_MOST_WRITTEN_OUT = 10 * _MILLION
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.08,
    # A dollar in a name is no formula.
    "text.parse_math": False,
    # Letters stay letters: they can be searched and read aloud, and the file is small.
    "svg.fonttype": "none",
    # The ids in it would be dice otherwise.
    "svg.hashsalt": "cloud-budget-monitor",
}


def check_target(file: str) -> Path:
    """Where the picture goes. Raises UserError for a form that is not known, MissingExtraError without matplotlib."""
    path = Path(file)
    if path.suffix.lower() not in _FORMATS:
        raise UserError(f"--plot {file}: expected the name of a file that ends with .svg or .png", ExitCode.USAGE)
    # It warns of fonts and caches in a log, and takes a display from the environment: neither is of use here.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    os.environ["MPLBACKEND"] = "agg"
    try:
        import matplotlib.figure  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"--plot needs the package {error.name}: pip install 'cloud-budget-monitor[plots]'"
        ) from error
    return path


@contextmanager
def drawn(path: Path, title: str, height: float) -> Iterator[Figure]:
    """A picture to draw on, `height` inches high, that is written when the block ends. Raises UserError."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    content = io.BytesIO()
    # Not what a matplotlibrc of the user says: the same plan is the same picture everywhere.
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # its types list each key there is as a literal
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure
        # A letter of a name that the font lacks is a box; that is no news for whoever asked for a picture.
        warnings.simplefilter("ignore", UserWarning)
        kind = _FORMATS[path.suffix.lower()]
        figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, metadata=_about(kind, title))
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise unwritable(path, error) from error


def heights(amounts: Iterable[Decimal]) -> NDArray[np.float64]:
    """Where amounts are drawn.

    Here alone money becomes binary floating point, and only for where ink goes: a picture has a thousand dots, a
    double sixteen digits. What is written beside the ink comes from the Decimal.
    """
    import numpy as np

    return np.array(list(amounts), dtype=np.float64)


def money_axis(axes: Axes, currency: str, most: Decimal, *, what: str, horizontal: bool = False) -> None:
    """Amounts along an axis: written out, or in millions where that would be long, with the currency in its label."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    millions = most >= _MOST_WRITTEN_OUT
    unit = f"million {currency}" if millions else currency
    scale, digits = (_MILLION, 4) if millions else (1, 12)
    axis = axes.xaxis if horizontal else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=4 if horizontal else 6, min_n_ticks=2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value / scale, digits)))
    axis.set_label_text(f"{what}, {unit}")


def date_axis(axes: Axes, days: int) -> None:
    """Dates along the lower axis, in UTC, as fine as so many days need."""
    from datetime import UTC

    from matplotlib.dates import AutoDateLocator, DateFormatter

    form = "%d %b %H:%M" if days < _FEW_DAYS else "%d %b" if days < _MANY_DAYS else "%b %Y"
    most = 3 if days < _FEW_DAYS else 5
    axes.xaxis.set_major_locator(AutoDateLocator(tz=UTC, minticks=2, maxticks=most))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter(form, tz=UTC))  # type: ignore[no-untyped-call]  # dates have no types


def legend_below(figure: FigureBase, handles: Sequence[Artist], *, columns: int) -> None:
    """A legend at the foot of a figure, or of a part of one."""
    if handles:
        figure.legend(
            handles=handles, loc="outside lower left", ncols=columns, handlelength=2.6, columnspacing=1.2, borderpad=0
        )


def _tick(value: float, digits: int) -> str:
    text = f"{value:,.{digits}g}"
    return text if "e" not in text else f"{value:,.0f}"


def _about(kind: str, title: str) -> dict[str, str | None]:
    """What the file says of itself: no date and no version, so that the same picture is the same file."""
    if kind == "svg":
        return {"Title": title, "Creator": "cloud-budget-monitor", "Date": None}
    return {"Title": title, "Software": None}
