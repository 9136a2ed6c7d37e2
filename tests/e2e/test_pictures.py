"""`plan --plot` and `compare --plot` as a person types them: the files, what stands in them, and mistakes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alarms.model import Period
from monitor.model import Batch, Charge, Series
from monitor.store.charges import replace
from monitor.store.database import open_store
from monitor.store.facts import SourceClock, write_clock
from tests.e2e.test_compare import CONFIG, ROOT, run
from tests.e2e.test_plan import PLANS

# Each starts real processes and clouds: together they take longer than a minute.
pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"
STRANGE = """
[[quote]]
offer = "$me_1^2$ 中 <b>&"
seller = "me"
gpu = "A100-80GB"
gpus = 8
currency = "USD"
as_of = 2026-11-01
source = "here"
on_demand = "1"
"""


@pytest.fixture(scope="module", autouse=True)
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What matplotlib finds out of the fonts here takes it seconds: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        yield


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path / "config.toml", CONFIG + PLANS)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def drawn(directory: Path, *arguments: str, code: int = 0) -> bytes:
    """The file, after a command that says nothing on stderr but warnings."""
    done = run(directory, *arguments)
    assert done.returncode == code, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.endswith("(warning)")] == []
    return (directory / arguments[-1]).read_bytes()


def texts(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own file
    assert root.tag == f"{SVG}svg"
    return ["".join(node.itertext()).strip() for node in root.iter(f"{SVG}text")]


def font_sizes(svg: bytes) -> set[float]:
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own file
    styles = (node.get("style", "") for node in root.iter(f"{SVG}text"))
    sizes = (part.split("font-size:")[1].split("px")[0] for part in styles if "font-size:" in part)
    fonts = (node.get("style", "").partition("font:")[2] for node in root.iter(f"{SVG}text"))
    return {float(size) for size in sizes} | {float(font.split("px")[0].split()[-1]) for font in fonts if font}


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height; every chunk must be whole."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, size = 8, (0, 0)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        at += 12 + length
    assert kind == b"IEND"
    return size


def test_a_plan_over_time_says_what_it_is(directory: Path) -> None:
    svg = drawn(directory, "plan", "deepseek-ft", "--plot", "plan.svg")
    found = texts(svg)
    assert "deepseek-ft: 16,584.35 USD" in found
    assert "spent so far, USD" in found
    assert "1 Dec 2026 to 27 Dec 2026, UTC" in found
    assert {"planned", "budget deepseek", "08 Dec", "16,000"} <= set(found)
    # Certain: there is no band to show; and nothing is spent that nobody has told of.
    assert not {"P10 to P90", "spent, by the ledger"} & set(found)
    assert len(svg) < 40_000


def test_letters_are_legible_on_a_telephone(directory: Path) -> None:
    """Shown 360 pixels wide, the picture's own width in points, no letter is less than ten pixels high."""
    for arguments in (("plan", "deepseek-ft"), ("compare", "deepseek-ft")):
        svg = drawn(directory, *arguments, "--plot", "picture.svg")
        root = ElementTree.fromstring(svg)  # noqa: S314 - our own file
        assert root.get("width") == "360pt"
        assert min(font_sizes(svg)) >= 10


def test_what_is_uncertain_has_a_band(directory: Path) -> None:
    found = texts(drawn(directory, "plan", "model", "--plot", "plan.svg"))
    assert {"planned", "P10 to P90"} <= set(found)
    assert "budget deepseek" not in found


def test_large_amounts_are_in_millions_and_a_jump_is_drawn(directory: Path) -> None:
    text = (CONFIG + PLANS).replace('price_per_gpu_hour = "2"', 'price_per_gpu_hour = "20"')
    write(directory / "config.toml", text)
    found = texts(drawn(directory, "plan", "deepseek-v3", "--plot", "plan.svg"))
    assert "deepseek-v3: 55,760,000.00 USD" in found
    assert "spent so far, million USD" in found
    assert {"20", "40"} <= set(found)


def test_what_the_ledger_holds_is_drawn_beside_it(directory: Path) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = (now - timedelta(days=4)).replace(hour=0)
    text = (CONFIG + PLANS).replace("2026-12-01T00:00:00Z", start.isoformat().replace("+00:00", "Z"))
    until = start + timedelta(days=400)
    text = text.replace('period = "quarter"', f"start = {start - timedelta(days=9):%Y-%m-%d}\nend = {until:%Y-%m-%d}")
    write(directory / "config.toml", text)
    (directory / "state").mkdir(mode=0o700)
    series = Series("aws", "USD")
    with open_store(directory / "state") as store, store.transaction() as tx:
        days = [Period(start + timedelta(days=n), start + timedelta(days=n + 1)) for n in (-2, 0, 1)]
        charges = tuple(Charge(series, day, Decimal(900)) for day in days)
        whole = Period(days[0].start, days[-1].end)
        replace(tx, "aws", Batch(charges, {series: whole}, data_as_of=whole.end), now)
        write_clock(tx, SourceClock("aws", last_poll=now, data_as_of=whole.end))
    svg = drawn(directory, "plan", "deepseek-ft", "--plot", "plan.svg")
    assert "spent, by the ledger" in texts(svg)
    # The start, then two days; what was spent before the plan began lowers the budget's line, by 900.
    (line,) = [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if has_markers(group)]  # noqa: S314
    assert len(list(line.iter(f"{SVG}use"))) == 3


def has_markers(group: ElementTree.Element) -> bool:
    """A line drawn with a mark at each of its points, in the plot and not in the legend or along an axis."""
    uses = list(group.findall(f".//{SVG}use"))
    return group.get("id", "").startswith("line2d") and len(uses) > 1


def test_offers_cheapest_first_and_when_own_hardware_pays(directory: Path) -> None:
    svg = drawn(directory, "compare", "deepseek-ft", "--plot", "offers.svg")
    found = texts(svg)
    assert {"deepseek-ft: 4,640 GPU-hours of A100-40GB", "from 3,065.30 USD"} <= set(found)
    names = [text for text in found if text.endswith((", spot", ", on demand")) or text.startswith("rig, ")]
    assert names[:2] == ["gcp:a2-megagpu-16g, spot", "ciuic:8xA100, spot"]
    assert names[-2] == "rig, to buy and to run"
    assert {"3,065.30", "cost, USD", "hours of use, h", "paid so far, USD", "When rig pays", "rig, bought"} <= set(
        found
    )
    assert "azure:ND96amsr_A100_v4, on de…: after 3,852 h" in found


def test_what_is_ruled_out_or_owned_is_drawn_as_such(directory: Path) -> None:
    text = (CONFIG + PLANS).replace("hours = 120,", "hours = 120, data_local = true,")
    write(directory / "config.toml", text.replace('name = "rig"', 'name = "rig"\nowned = true'))
    found = texts(drawn(directory, "compare", "deepseek-ft", "--plot", "offers.svg"))
    assert "rig, there already" in found
    assert not [one for one in found if one.endswith((", spot", ", on demand")) or one.startswith("When ")]


def test_names_are_neither_formulas_nor_markup(directory: Path) -> None:
    write(directory / "prices.toml", STRANGE)
    found = texts(drawn(directory, "compare", "--gpu-hours", "80", "--gpu", "A100-80GB", "--plot", "offers.svg"))
    assert "$me_1^2$ 中 <b>&, on demand" in found
    # The font of a .png has no such letter, which is no reason to fail or to talk.
    png_size(drawn(directory, "compare", "--gpu-hours", "80", "--gpu", "A100-80GB", "--plot", "offers.png"))


@pytest.mark.parametrize(
    ("arguments", "height"), [(("plan", "model"), 920), (("compare", "--gpu-hours", "9", "--gpu", "H100"), None)]
)
def test_a_png_is_a_thousand_dots_wide(directory: Path, arguments: tuple[str, ...], height: int | None) -> None:
    found = png_size(drawn(directory, *arguments, "--plot", "picture.PNG"))
    assert found[0] == 1000
    assert height in (None, found[1])


@pytest.mark.parametrize("file", ["picture.svg", "picture.png"])
def test_the_same_plan_is_the_same_file(directory: Path, file: str) -> None:
    """Whatever the user's own settings of matplotlib, and without a date."""
    first = drawn(directory, "plan", "model", "--plot", file)
    write(directory / "matplotlibrc", "font.size: 3\naxes.facecolor: red\n")
    assert drawn(directory, "plan", "model", "--plot", file) == first
    assert b"Matplotlib" not in first


def test_a_plan_that_does_not_fit_is_drawn_too_and_ends_with_2(directory: Path) -> None:
    write(directory / "config.toml", (CONFIG + PLANS).replace('"20000"', '"10000"'))
    assert "budget deepseek" in texts(drawn(directory, "plan", "deepseek-ft", "--plot", "plan.svg", code=2))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["plan", "deepseek-ft", "--plot", "x.pdf"], 64, "--plot x.pdf: expected the name of a file that ends with"),
        (["compare", "deepseek-ft", "--plot", "svg"], 64, "--plot svg: expected the name of a file that ends with"),
        (["plan", "--plot", "x.svg"], 64, "--plot draws one plan; name it: deepseek-ft, deepseek-v3, model"),
        (["plan", "model", "--plot", "gone/x.svg"], 64, "make the directory first: mkdir -p gone"),
        (["plan", "model", "--plot", "folder.svg"], 64, "folder.svg is a directory; give the name of a file"),
        (["plan", "model", "--plot", "config.toml/x.svg"], 64, "config.toml is no directory; name another file"),
    ],
)
def test_a_mistake_is_one_sentence(directory: Path, arguments: list[str], code: int, said: str) -> None:
    (directory / "folder.svg").mkdir()
    done = run(directory, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    lines = [line for line in done.stderr.splitlines() if not line.endswith("(warning)")]
    assert len(lines) == 1
    assert said in lines[0]


def test_without_the_extra_it_says_how_to_get_it(directory: Path) -> None:
    (directory / "matplotlib.py").write_text("raise ModuleNotFoundError('gone', name='matplotlib')\n")
    for command in ("plan", "compare"):
        done = subprocess.run(
            [sys.executable, "-m", "monitor", command, "deepseek-ft", "--plot", "x.svg"],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 69
        sentence = "monitor: --plot needs the package matplotlib: pip install 'cloud-budget-monitor[plots]'\n"
        assert done.stderr == sentence
        assert run(directory, command, "deepseek-ft").returncode == 0


def test_nothing_is_imported_for_pictures_without_one(directory: Path) -> None:
    program = (
        "import sys\n"
        "from monitor.arguments import run\n"
        "codes = [run(['plan', 'deepseek-ft']), run(['compare', 'deepseek-ft'])]\n"
        "heavy = {'matplotlib', 'numpy', 'boto3'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else max(codes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
