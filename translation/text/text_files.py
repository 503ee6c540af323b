"""Text files, one sentence a line, plain or compressed.

Lines end with a line feed. Carriage returns are left out wherever they stand,
as TensorFlow's own reader does, and the byte order mark that some editors
write at the beginning of a file; everything else of a line is kept. So Python
and the graph read the same lines.
"""

import codecs
import gzip
import pathlib
import re
import zlib

import tensorflow as tf

_BLOCK = 1 << 13  # bytes that are read at once
_GRAPH_BUFFER = 1 << 18  # the same in the graph, as of TextLineDataset


class CorpusError(ValueError):
    """Something is wrong with a corpus, in one line."""


def find_language(prefix, language):
    """Finds `PREFIX.LANGUAGE`, or else `PREFIX.LANGUAGE.gz`.

    Args:
        prefix: str or path, up to the dot before the language.
        language: str. Such as `en`.

    Returns:
        `pathlib.Path`.

    Raises:
        CorpusError: if there is neither; it lists the languages there are.
    """
    for ending in ("", ".gz"):
        path = pathlib.Path(f"{prefix}.{language}{ending}")
        if path.is_file():
            return path
    prefix = pathlib.Path(prefix)
    if prefix.is_dir():
        raise CorpusError(
            f"{prefix} is a folder; give the start of the names of two files "
            f"in it, such as {prefix / 'train'} for train.{language}."
        )
    if prefix.is_file():
        raise CorpusError(_of_file(prefix))
    beside = re.compile(re.escape(prefix.name) + r"\.([a-z]{2,3})(\.gz)?")
    folder = prefix.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    found = sorted({m[1] for m in map(beside.fullmatch, names) if m} - {"gz"})
    hint = (
        f"beside it are the languages {', '.join(found)}"
        if found
        else f"no file {prefix.name}.LANGUAGE is in {folder}"
    )
    raise CorpusError(
        f"There is no file {prefix}.{language} or {prefix}.{language}.gz; "
        f"{hint}."
    )


def _of_file(path):
    """What to give in place of a single file."""
    language = re.search(r"\.[A-Za-z]{2,3}([-_]\w+)*(\.gz)?$", path.name)
    if language and not path.name.endswith(".txt"):
        prefix = path.with_name(path.name[: language.start()])
        return (
            f"{path} is one file of two; give the start of both names, "
            f"{prefix} for {prefix}.LANGUAGE."
        )
    return (
        f"{path} is a single file; a corpus is two files PREFIX.LANGUAGE, "
        "given as PREFIX, or one FILE.tsv with a tab between the sentences."
    )


def read_lines(path):
    """Streams the lines of a file, without their ends.

    Args:
        path: `pathlib.Path`. Compressed if it ends in `.gz`.

    Yields:
        str.

    Raises:
        CorpusError: if there is no such file, or at a line that is not UTF-8,
            or cannot be read.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file {path}.")
    number = 0  # of the lines read without fault
    try:
        with _open(path) as file:
            for lines in _blocks(file):
                if not number:
                    lines = lines.removeprefix(codecs.BOM_UTF8)
                text = lines.decode("utf-8").replace("\r", "")
                yield from text.split("\n")
                number += lines.count(b"\n") + 1
    except UnicodeDecodeError as error:
        before = lines[: error.start]
        number += before.count(b"\n") + 1
        byte = error.start - before.rfind(b"\n")
        raise CorpusError(
            f"{path}, line {number}: not UTF-8 at byte {byte}. "
            "Convert the file, for example with iconv."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(
            f"{path}: cannot be read after line {number}: {error}"
        ) from error


def _open(path):
    return (gzip.open if path.suffix == ".gz" else open)(path, "rb")


def _blocks(file):
    """Some whole lines at a time, without the last line feed.

    Line by line a big corpus would take three times as long.
    """
    rest = b""
    while block := file.read(_BLOCK):
        lines, found, rest_of_block = (rest + block).rpartition(b"\n")
        rest = rest_of_block
        if found:
            yield lines
    if rest:
        yield rest


def line_dataset(path):
    """The same lines as a `tf.data.Dataset` of strings, not checked.

    `tf.data.TextLineDataset` would write the path into the saved state of an
    iterator, and look for the file there when it is restored. This one has
    the same state but for the path, which is taken from here.
    """
    compression = "GZIP" if path.suffix == ".gz" else ""
    with _open(path) as file:
        is_marked = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8

    def read(_):
        lines = tf.raw_ops.TextLineDataset(
            filenames=str(path),
            compression_type=compression,
            buffer_size=_GRAPH_BUFFER,
        )
        line = tf.TensorSpec([], tf.string)
        lines = tf.data.experimental.from_variant(lines, line)
        return lines.enumerate().map(_without_mark) if is_marked else lines

    return tf.data.Dataset.from_tensor_slices([""]).flat_map(read)


def _without_mark(number, line):
    """The line; of the first one what stands behind the byte order mark."""
    begin = tf.where(number == 0, len(codecs.BOM_UTF8), 0)
    return tf.strings.substr(line, begin, tf.strings.length(line))
