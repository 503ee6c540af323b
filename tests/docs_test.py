"""What the documentation says is true: its examples run, its rules hold.

A block of a Markdown file that cannot run here (it needs data or hours)
opens with ```python no-run.
"""

import doctest
import importlib
import inspect
import pathlib
import re
import runpy
import textwrap

import keras
import pytest

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]
PACKAGES = ("moe_keras", "translation", "language_model", "server", "trainers")
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)
PAGES = [
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.exists()
]
# Classes of translators that users make by themselves.
FOR_USERS = (
    "trainers.translator.presets.NmtConfig",
    "translation.search.beam_options.BeamOptions",
    "translation.text.corpora.corpus.TextCorpus",
    "translation.text.corpora.corpus.TsvCorpus",
    "translation.serving.export.LoadedTranslator",
    "translation.text.input_pipeline.PipelineOptions",
)
BLOCK = re.compile(
    r"^(?P<indent> *)```python *(?P<how>[^\n]*)\n(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


def _module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _blocks(text):
    """Number of the first line and code of each block that is to run."""
    for match in BLOCK.finditer(text):
        if match["how"].strip() != "no-run":
            line = text.count("\n", 0, match.start("code"))
            yield line, textwrap.dedent(match["code"])


def _run_page(path):
    """Runs a page's blocks one after the other, in one namespace."""
    names = {"__name__": path.stem}
    for line, code in _blocks(path.read_text("utf-8")):
        # Empty lines before it give the block the page's line numbers.
        exec(compile("\n" * line + code, str(path), "exec"), names)
    return names


def _is_saved_layer(value):
    """Whether it is a layer of `translation` that Keras can save by name."""
    return (
        inspect.isclass(value)
        and issubclass(value, keras.layers.Layer)
        and keras.saving.get_registered_name(value).startswith("translation>")
    )


def _public_classes():
    """What `moe_keras` offers, and what `translation` is made of and offers."""
    offered = [
        getattr(module, name)
        for module in (moe_keras, moe_keras.monitoring)
        for name in module.__all__
    ]
    classes = {value for value in offered if inspect.isclass(value)}
    for name in FOR_USERS:
        module, _, kind = name.rpartition(".")
        classes.add(getattr(importlib.import_module(module), kind))
    for path in SOURCES:
        if path.parts[0] == "translation":
            module = importlib.import_module(_module_name(path))
            classes |= set(filter(_is_saved_layer, vars(module).values()))
    return classes


@pytest.mark.parametrize("path", SOURCES, ids=_module_name)
def test_examples_in_docstrings_give_what_they_show(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(_module_name(path))
    output = []
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, _module_name(path)):
        runner.run(test, out=output.append)
    assert not runner.failures, "".join(output)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_python_blocks_of_pages_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _run_page(ROOT / path)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_files_that_pages_name_exist(path):
    folders = (*PACKAGES, "tests", "benchmarks")
    named = re.findall(
        rf"`((?:{'|'.join(folders)})/[\w./]*\w\.\w+)`",
        (ROOT / path).read_text(),
    )
    assert not [name for name in named if not (ROOT / name).exists()]


def test_blocks_share_names_and_no_run_is_skipped(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na = 2\n```\n"
        "```python no-run\na = 3\n```\n"
        "```sh\na=4\n```\n"
        "1. item\n\n   ```python\n   b = a + 3\n   ```\n"
    )
    names = _run_page(page)
    assert (names["a"], names["b"]) == (2, 5)


def test_error_in_a_block_names_the_line_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\na = 1\nb = 1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as error:
        _run_page(page)
    assert error.traceback[-1].lineno + 1 == 5


def test_every_public_class_has_an_example():
    classes = _public_classes()
    assert {moe_keras.SparseMoE, moe_keras.monitoring.Verdict} <= classes
    assert len(classes) > 30
    without = [c.__name__ for c in classes if ">>>" not in (c.__doc__ or "")]
    assert not without


def test_reference_is_what_the_docstrings_say():
    """Otherwise run `python docs/make_api.py`."""
    made = runpy.run_path(str(ROOT / "docs/make_api.py"))["page"]()
    assert (ROOT / "docs/api.md").read_text("utf-8") == made
