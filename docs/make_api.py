"""Writes docs/api.md, the reference, from the docstrings of public names.

    python docs/make_api.py

`tests/docs_test.py` compares the file with what this would write.
"""

import importlib
import inspect
import pathlib
import re
import textwrap

PAGE = pathlib.Path(__file__).with_name("api.md")
# Modules whose `__all__` is public; of one without it, its own functions.
MODULES = (
    "moe_keras",
    "moe_keras.experts",
    "moe_keras.gating",
    "moe_keras.losses",
    "moe_keras.monitoring",
    "moe_keras.parallel",
    "moe_keras.plan",
    "moe_keras.analysis",
    "moe_keras.report",
    "moe_keras.hub",
    "moe_keras.quantization",
)
HEAD = """\
# API reference

Made from the docstrings by `python docs/make_api.py`. Letters of dimensions:
B batch, S source length, T target length, N tokens, D depth, H hidden size of
an expert, E experts, K experts per token, C slots of an expert, V vocabulary.
"""
_SECTION = re.compile(r"^([A-Z][A-Za-z ]+):$")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # another in every process
_LONGEST = 300  # characters of a value that is shown whole
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): ")


def public_names(module):
    """Name and object of what a module offers, in the order of names."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
    return [(name, getattr(module, name)) for name in sorted(names)]


def signature(name, value):
    """`name(arguments)` as one writes a call, a line each where it is long."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    empty = inspect.Signature.empty  # types stand in the docstring as well
    parameters = [
        parameter.replace(annotation=empty)
        for parameter in found.parameters.values()
    ]
    shown = [_ADDRESS.sub("", str(parameter)) for parameter in parameters]
    short = f"{name}({', '.join(shown)})"
    if len(short) <= 78:
        return short
    lines = "".join(f"    {parameter},\n" for parameter in shown)
    return f"{name}(\n{lines})"


def as_markdown(docstring):
    """Turns a docstring of ours into Markdown.

    Section titles become bold, their entries a list, examples code.

    >>> print(as_markdown('Adds.\\n\\nArgs:\\n    a: int. One.\\n'))
    Adds.
    <BLANKLINE>
    **Args**
    <BLANKLINE>
    - `a`: int. One.
    """
    blocks, lines = [], inspect.cleandoc(docstring).split("\n")
    while lines:
        title = _SECTION.match(lines[0])
        if title and len(lines) > 1 and lines[1].startswith("    "):
            body = _take(lines[1:], lambda line: line[:1] in ("", " "))
            blocks.append(f"**{title[1]}**")
            blocks.append(_entries(textwrap.dedent("\n".join(body))))
            del lines[: 1 + len(body)]
        elif lines[0].startswith(">>> "):
            body = _take(lines, lambda line: line != "")
            blocks.append("```pycon\n" + "\n".join(body) + "\n```")
            del lines[: len(body)]
        elif title and title[1] == "Example":
            blocks.append("**Example**")
            del lines[0]
        elif lines[0]:
            body = _take(lines, lambda line: line != "")
            blocks.append(_paragraph(body))
            del lines[: len(body)]
        else:
            del lines[0]
    return "\n\n".join(blocks)


def _take(lines, belongs):
    for number, line in enumerate(lines):
        if not belongs(line):
            return lines[:number]
    return lines


def _paragraph(lines):
    if all(line.startswith("    ") for line in lines):  # a drawing, a formula
        return "```text\n" + textwrap.dedent("\n".join(lines)) + "\n```"
    return "\n".join(lines)


def _entries(text):
    lines = []
    for line in text.strip().split("\n"):
        entry = _ENTRY.match(line)
        if entry:
            line = f"- `{entry[1]}`: {line[entry.end() :]}"
        elif line.startswith("    "):
            line = f"  {line.strip()}"
        lines.append(line)
    return "\n".join(lines)


def describe(name, value, level):
    """The part of the page on one public name."""
    heading = f"{'#' * level} {name}"
    docstring = inspect.getdoc(value)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return f"{heading}\n\n{_value(value)}"
    parts = [heading, f"```python no-run\n{signature(name, value)}\n```"]
    parts.append(as_markdown(docstring or ""))
    if inspect.isclass(value):
        for method, function in sorted(vars(value).items()):
            is_shown = inspect.isfunction(function) and function.__doc__
            if is_shown and not method.startswith("_"):
                parts.append(describe(f"{name}.{method}", function, level + 1))
    return "\n\n".join(parts)


def _value(value):
    """A value, or no more than the names in it if it is long."""
    text = repr(value)
    if len(text) <= _LONGEST and not _ADDRESS.search(text):
        return f"`{text}`"
    if isinstance(value, dict):
        names = ", ".join(f"`{name}`" for name in value)
        return textwrap.fill(f"A dict of {len(value)}: {names}.")
    return f"A {type(value).__name__} of {len(value)}."


def page():
    """The whole page; a name that two modules offer stands where it is first.

    Returns:
        str.
    """
    parts, shown = [HEAD.rstrip()], set()
    for path in MODULES:
        module = importlib.import_module(path)
        parts.append(f"## {path}")
        parts.append(as_markdown(module.__doc__))
        for name, value in public_names(module):
            if inspect.ismodule(value) or name.startswith("__"):
                continue
            if callable(value):
                if value in shown:
                    continue
                shown.add(value)
            parts.append(describe(name, value, 3))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
