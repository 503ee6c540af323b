"""Text files, one sentence a line, plain or compressed.

Lines end with a line feed. Carriage returns before it are left out, as
TensorFlow's own reader does, and so is one within a line; a line with more of
them is refused, for they are the line ends of an old Macintosh. The byte order
mark that some editors write at the beginning of a file is left out too;
everything else of a line is kept. So Python and the graph read the same lines.
"""

import codecs
import gzip
import os
import pathlib
import re
import zlib

import tensorflow as tf

from moe_keras.paths import local_path
from translation.text.languages import spellings

_BLOCK = 1 << 13  # bytes that are read at once
_GRAPH_BUFFER = 1 << 18  # the same in the graph, as of TextLineDataset
_GZIP = b"\x1f\x8b"
# The ending of one file of two.
_LANGUAGE = (
    r"\.(?!tsv|txt|gz)([A-Za-z]{2,3}([-_]\w{2,8})*|source|target)(\.gz)?"
)
_CONVERT = "is UTF-16: convert it, with iconv -f UTF-16 -t UTF-8."
# How text does not begin.
_NO_TEXT = {
    _GZIP: "is compressed: unpack it, with gunzip -c, or name a file .gz.",
    codecs.BOM_UTF16_LE: _CONVERT,
    codecs.BOM_UTF16_BE: _CONVERT,
}


class CorpusError(ValueError):
    """Something is wrong with a corpus, in one line."""


def find_language(prefix, language):
    """Finds `PREFIX.LANGUAGE`, or else `PREFIX.LANGUAGE.gz`.

    Args:
        prefix: str or path, up to the dot before the language.
        language: str. Such as `en`, or `pt-BR`, which a file may spell in
            other ways: see `languages.spellings`.

    Returns:
        `pathlib.Path`.

    Raises:
        CorpusError: if there is none; it lists the languages there are.
    """
    suffixes = spellings(language)
    for suffix in suffixes:
        for ending in ("", ".gz"):
            path = pathlib.Path(f"{prefix}.{suffix}{ending}")
            if path.is_file():
                return path
    prefix = pathlib.Path(prefix)
    if is_stream(prefix):
        raise CorpusError(
            f"{prefix} is a pipe, which can be read only once; a corpus is "
            "read several times. Write it to files."
        )
    if prefix.is_dir():
        raise CorpusError(
            f"{prefix} is a folder; give the start of the names of two files "
            f"in it, such as {prefix / 'train'} for train.{language}."
        )
    if prefix.is_file():
        raise CorpusError(_of_file(prefix))
    found = _languages_beside(prefix)
    hint = (
        f"beside it are the languages {', '.join(found)}"
        if found
        else f"no file {prefix.name}.LANGUAGE is in {prefix.parent}"
    )
    raise CorpusError(
        f"There is no file {prefix}.{language} or {prefix}.{language}.gz, nor "
        f"with {' or '.join(suffixes[1:])} for {language}; {hint}."
    )


def _of_file(path):
    """Say what to give in place of a single file."""
    ending = re.search(f"{_LANGUAGE}$", path.name)
    if ending:
        prefix = path.with_name(path.name[: ending.start()])
        return (
            f"{path} is one file of two; give the start of both names, "
            f"{prefix} for {prefix}.LANGUAGE."
        )
    return (
        f"{path} is a single file; a corpus is two files PREFIX.LANGUAGE, "
        "given as PREFIX, or one FILE.tsv with a tab between the sentences."
    )


def _languages_beside(prefix):
    """List the endings of files with this prefix that look like languages."""
    beside = re.compile(re.escape(prefix.name) + _LANGUAGE)
    folder = prefix.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return sorted({m[1] for m in map(beside.fullmatch, names) if m})


def is_stream(path):
    """Whether a path is a pipe, as of `<(command)`, or a device."""
    path = pathlib.Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def read_lines(path, like_graph=False):
    """Streams the lines of a file, without their ends.

    Args:
        path: `pathlib.Path` of a file or a pipe. Compressed if it ends in
            `.gz`.
        like_graph: bool. Whether to refuse what TensorFlow's reader, which
            `line_dataset` has, cannot read: zeros behind compressed data, as
            tapes and block devices leave them.

    Yields:
        str.

    Raises:
        CorpusError: if there is no such file, or at a line that is not UTF-8,
            or cannot be read, or is several lines with carriage returns for
            ends.
    """
    if not path.is_file() and not is_stream(path):
        raise CorpusError(f"There is no file {path}.")
    number = 0  # of the lines read without fault
    try:
        with open(path, "rb") as file:
            for lines in whole_lines(_blocks(file, path, like_graph), path):
                text = lines.decode("utf-8").replace("\r", "")
                yield from text.split("\n")
                number += lines.count(b"\n") + 1
    except UnicodeDecodeError as error:
        before, found, begun = lines[: error.start].rpartition(b"\n")
        if found:
            yield from before.decode("utf-8").replace("\r", "").split("\n")
            number += before.count(b"\n") + 1
        raise CorpusError(
            f"{path}, line {number + 1}: not UTF-8 at byte {len(begun) + 1}. "
            "Convert the file, for example with iconv."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(
            f"{path}: cannot be read after line {number}: {error}"
        ) from error


def whole_lines(blocks, name):
    """Some whole lines at a time, without the last line feed.

    Line by line a big corpus would take three times as long.

    Args:
        blocks: Iterable of bytes.
        name: For messages.

    Yields:
        bytes. A byte order mark at the beginning is left out.

    Raises:
        CorpusError: if the text is compressed or in UTF-16, or lines end with
            carriage returns alone.
    """
    rest, number = [], 0  # the line that is begun; lines that are whole
    for block in blocks:
        lines, found, begun = block.rpartition(b"\n")
        if not found:
            rest.append(block)
            continue
        lines = b"".join([*rest, lines])
        rest = [begun] if begun else []
        yield _checked(lines, name, number, is_last=False)
        number += lines.count(b"\n") + 1
    if any(rest):
        yield _checked(b"".join(rest), name, number, is_last=True)


def _checked(lines, name, number, is_last):
    """The lines, if they are text; see `whole_lines`."""
    if number == 0:
        for begin, fault in _NO_TEXT.items():
            if lines.startswith(begin):
                raise CorpusError(f"{name} {fault}")
        lines = lines.removeprefix(codecs.BOM_UTF8)
    if b"\r" in lines:
        # A line may have a stray one, but a file without any line feed none.
        most = 1 if is_last and number == 0 else 2
        for line in lines.split(b"\n"):
            number += 1
            if len([part for part in line.split(b"\r") if part]) > most:
                raise CorpusError(
                    f"{name}, line {number}: has carriage returns in it, as if "
                    "they ended lines; only line feeds do. Put line feeds "
                    "there, with tr '\\r' '\\n', or take them out, with "
                    "tr -d '\\r'."
                )
    return lines


def _blocks(file, path, like_graph):
    blocks = iter(lambda: file.read(_BLOCK), b"")
    return _unpacked(blocks, like_graph) if path.suffix == ".gz" else blocks


def _unpacked(blocks, like_graph):
    """Blocks of a compressed file, which may be several, end to end."""
    member, members = None, 0
    for packed in blocks:
        while packed:
            if member is None:
                if members and not like_graph:
                    packed = packed.lstrip(b"\0")
                    if not packed:
                        break
                if members and not packed.startswith(_GZIP[: len(packed)]):
                    raise zlib.error(
                        "there are other bytes behind the compressed text. "
                        "Write it anew: gunzip -c FILE.gz | gzip > NEW.gz"
                    )
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                members += 1
            yield member.decompress(packed)
            packed = member.unused_data
            if member.eof:
                member = None
    if member is not None:
        raise EOFError("the compressed text has no end")


def read_labels(path, count):
    """Reads a file with a label in each line, plain or `.gz`.

    Args:
        path: str, path or None, for no labels.
        count: int. Number of lines that there are labels for.

    Returns:
        List of str, or None.

    Raises:
        CorpusError: if there are not as many labels.
    """
    if path is None:
        return None
    labels = list(read_lines(local_path(path)))
    if len(labels) != count:
        raise CorpusError(
            f"{path} must have a label for each of the {count:,} lines; it has "
            f"{len(labels):,}."
        )
    return labels


def line_dataset(path):
    """The same lines as a `tf.data.Dataset` of strings, not checked.

    `tf.data.TextLineDataset` would write the path into the saved state of an
    iterator, and look for the file there when it is restored. This one has
    the same state but for the path, which is taken from here.
    """
    compression, is_marked = _compression(path), _is_marked(path)

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


def lines_of_files(paths):
    """The lines of many files, which follow each other, as `line_dataset`.

    Args:
        paths: List of `pathlib.Path`.
    """
    names = [os.fsencode(path) for path in paths]
    compressions = [*map(_compression, paths)]
    # Lines that may begin with a mark: the first of files that have one.
    firsts = [0 if _is_marked(path) else -1 for path in paths]

    def read(number):
        lines = tf.raw_ops.TextLineDataset(
            filenames=tf.gather(names, number),
            compression_type=tf.gather(compressions, number),
            buffer_size=_GRAPH_BUFFER,
        )
        line = tf.TensorSpec([], tf.string)
        lines = tf.data.experimental.from_variant(lines, line)
        if max(firsts) < 0:
            return lines
        first = tf.gather(tf.constant(firsts, tf.int64), number)
        return lines.enumerate().map(
            lambda place, line: _without_mark(place - first, line)
        )

    return tf.data.Dataset.range(len(paths)).flat_map(read)


def _compression(path):
    return "GZIP" if path.suffix == ".gz" else ""


def _is_marked(path):
    """Whether a file begins with a byte order mark."""
    open_it = gzip.open if path.suffix == ".gz" else open
    with open_it(path, "rb") as file:
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _without_mark(number, line):
    """The line; of the first one what stands behind the byte order mark."""
    begin = tf.where(number == 0, len(codecs.BOM_UTF8), 0)
    return tf.strings.substr(line, begin, tf.strings.length(line))
