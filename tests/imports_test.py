"""Imports of the packages: one direction, and no circles."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Each may import those after it.
PACKAGES = ("trainers", "server", "language_model", "translation", "moe_keras")


def modules(root, packages):
    """Path of each module of some packages, by its name."""
    paths = [p for name in packages for p in (root / name).rglob("*.py")]
    parts = {
        path: path.relative_to(root).with_suffix("").parts for path in paths
    }
    return {".".join(n).removesuffix(".__init__"): p for p, n in parts.items()}


def imported_names(path):
    """Full names of what a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(root, packages=PACKAGES):
    """The modules that each module imports."""
    known = modules(root, packages)

    def module_of(imported):
        """A module, or the one that a name is of."""
        return imported if imported in known else imported.rpartition(".")[0]

    return {
        name: {m for m in map(module_of, imported_names(path)) if m in known}
        for name, path in known.items()
    }


def circles(graph):
    """Groups of modules each of which imports itself by way of the others."""
    reached = {name: _reached(graph, name) for name in graph}
    return {
        frozenset(m for m in reached[n] if n in reached[m])
        for n in graph
        if n in reached[n]
    }


def _reached(graph, name):
    found, waiting = set(), [name]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_no_module_imports_itself_by_way_of_others():
    assert circles(import_graph(ROOT)) == set()


def test_a_circle_is_found(tmp_path):
    package = tmp_path / "trainers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from trainers import b\n")
    (package / "b.py").write_text("def f():\n    import trainers.c\n")
    (package / "c.py").write_text("from trainers.a import x\n")
    (package / "d.py").write_text("from trainers import a\n")
    # d reaches the circle, and is none of it.
    circle = {"trainers.a", "trainers.b", "trainers.c"}
    assert circles(import_graph(tmp_path)) == {frozenset(circle)}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package):
    above = PACKAGES[: PACKAGES.index(package)]
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / package).rglob("*.py")
        for name in imported_names(path)
        if name.split(".")[0] in above
    ]
    assert wrong == []


def test_the_server_needs_no_code_of_models():
    graph = import_graph(ROOT)
    packages = {
        imported.split(".")[0]
        for name, found in graph.items()
        if name.split(".")[0] == "server"
        for imported in found
    }
    assert packages == {"server"}


def test_no_import_is_relative():
    relative = [
        (name, node.lineno)
        for name, path in modules(ROOT, PACKAGES).items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_the_phrasebook_needs_no_tensorflow():
    code = (
        "import sys; from translation.phrasebook.corpus import phrasebook; "
        "assert phrasebook(3); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "False\n", done.stderr
