"""A source's type is a module; what is missing is said with what to do."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from monitor import registry
from monitor.errors import MissingExtraError, PermanentError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of sources of our own, in the place of the real one."""
    directory = tmp_path / "some_sources"
    directory.mkdir()
    (directory / "__init__.py").write_text("")
    (directory / "_helper.py").write_text("raise RuntimeError('nobody asked for this')")
    (directory / "aws_good.py").write_text("Settings = dict\ndef create(settings):\n    import absent_sdk.part")
    (directory / "aws_bad.py").write_text("import absent_sdk")
    (directory / "broken.py").write_text("import monitor.absent")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_PACKAGE", "some_sources")
    registry.names.cache_clear()
    yield
    registry.names.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_sources"]:
        del sys.modules[name]


def test_names_are_modules_and_none_is_imported(package):
    assert registry.names() == ("aws_bad", "aws_good", "broken")
    assert not [name for name in sys.modules if name.startswith("some_sources.")]


def test_only_what_is_asked_for_is_imported(package):
    assert isinstance(registry.load("aws_good"), ModuleType)
    assert registry.settings_of("aws_good") is dict
    assert [name for name in sys.modules if name.startswith("some_sources.")] == ["some_sources.aws_good"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("aws_god", 'There is no source of type "aws_god": did you mean "aws_good"?'),
        ("xyz", 'There is no source of type "xyz": the types of source are aws_bad, aws_good, broken.'),
        ("_helper", 'There is no source of type "_helper": the types of source are aws_bad, aws_good, broken.'),
    ],
)
def test_an_unknown_type(package, name, sentence):
    with pytest.raises(PermanentError) as caught:
        registry.load(name)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("kind", ["aws_bad", "aws_good"])
def test_a_missing_package_names_the_extra_that_brings_it(package, kind):
    with pytest.raises(MissingExtraError) as caught:
        registry.create(SimpleNamespace(type=kind))
    assert str(caught.value) == (
        f"The source type \"{kind}\" needs the package absent_sdk: pip install 'cloud-budget-monitor[aws]'"
    )


def test_a_missing_module_of_ours_is_a_defect_and_no_missing_extra(package):
    with pytest.raises(ModuleNotFoundError, match=r"monitor\.absent"):
        registry.load("broken")


def test_every_source_there_is_can_be_imported_and_has_what_it_needs():
    for name in registry.names():
        module = registry.load(name)
        assert {"name", "type", "every", "currency", "late_after", "stale_after"} <= set(module.Settings.model_fields)
        assert callable(module.create)
