"""Lines and pairs of files and pipes, as they come."""

import io
import os
import subprocess
import sys
import time

import pytest

from trainers.translator.text_input import (
    TextLine,
    columned_groups,
    pair_groups,
    targeted_pairs,
)
from translation.text.line_groups import line_groups
from translation.text.text_files import CorpusError


class Slow(io.RawIOBase):
    """A pipe that gives these pieces, one at a time."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)
        self.taken = 0

    def read1(self, size):
        self.taken += 1
        return self._pieces.pop(0) if self._pieces else b""


class TestLines:
    def test_a_line_is_given_on_before_the_next_is_asked_for(self):
        pipe = Slow(b"one\ntw", b"o\n", b"thr", b"ee\n\nfour")
        groups = line_groups([], pipe)
        assert (next(groups), pipe.taken) == (["one"], 1)
        assert (next(groups), pipe.taken) == (["two"], 2)
        assert list(groups) == [["three", ""], ["four"]]

    def test_as_many_lines_as_wc_counts_and_no_more(self):
        assert list(line_groups([], Slow())) == []
        assert list(line_groups([], Slow(b"\n"))) == [[""]]
        odd = "a\u2028b\x0bc\r\n".encode() + b"\xff\n"
        assert list(line_groups([], Slow(odd))) == [["a\u2028b\x0bc", "\ufffd"]]

    def test_files_are_read_one_after_the_other(self, tmp_path):
        (tmp_path / "a").write_text("one\ntwo\n")
        (tmp_path / "b").write_text("three")
        paths = [str(tmp_path / name) for name in "ab"]
        assert list(line_groups(paths, None)) == [["one", "two", "three"]]

    def test_pairs_of_the_pipe_and_of_corpora(self, tmp_path):
        pipe = Slow(b"one\tun\ntwo\t", b"deux\n")
        pairs = [("one", "un"), ("two", "deux")]
        assert list(pair_groups([], "en-fr", pipe)) == [pairs[:1], pairs[1:]]
        (tmp_path / "x.en").write_text("one\ntwo\n")
        (tmp_path / "x.fr").write_text("un\ndeux\n")
        prefix = str(tmp_path / "x")
        assert list(pair_groups([prefix], "en-fr", None)) == [pairs]

    def test_prefixes_stand_behind_a_tab(self):
        groups = [["one\tun", "two"], ["three\t"]]
        assert list(columned_groups(groups, prefixes=True)) == [
            [TextLine("one", "un"), TextLine("two")],
            [TextLine("three")],
        ]
        lines = [["one"], ["two\tdeux", "a\tb\tc", "four"]]
        groups = columned_groups(lines, prefixes=True)
        assert next(groups) == [TextLine("one")]
        assert next(groups) == [TextLine("two", "deux")]  # before the fault
        with pytest.raises(CorpusError, match="Line 3: .*found 3 columns"):
            next(groups)

    def test_languages_stand_in_front_of_a_tab(self):
        lines = [["FR\tone", " ", "de\ttwo"], ["es\tthree", "it"]]
        groups = columned_groups(lines, target_of=str.lower)
        assert next(groups) == [
            TextLine("one", target="fr"),
            TextLine(""),
            TextLine("two", target="de"),
        ]
        assert next(groups) == [TextLine("three", target="es")]
        with pytest.raises(CorpusError, match="Line 5: .*found 1 columns"):
            next(groups)
        both = columned_groups([["fr\tone\tun", "de\ttwo"]], True, str.lower)
        assert list(both) == [
            [TextLine("one", "un", "fr"), TextLine("two", "", "de")]
        ]

    def test_what_is_wrong_with_a_language_is_told_with_its_line(self):
        def target_of(text):
            return {"fr": "fr"}[text] if text == "fr" else int(text)

        for groups in (
            columned_groups([["fr\ta", "it\tb"]], target_of=target_of),
            targeted_pairs([["fr\ta\tb", "it\ta\tb"]], target_of),
        ):
            assert len(next(groups)) == 1
            with pytest.raises(CorpusError, match="Line 2: .*'it'"):
                next(groups)

    def test_pairs_with_their_languages(self):
        lines = [["fr\tone\tun", "de\ttwo\t"], ["\u3000", "one\tun"]]
        groups = targeted_pairs(lines, lambda text: text or "es")
        assert next(groups) == [("one", "un", "fr"), ("two", "", "de")]
        assert next(groups) == [("", "", "es")]
        with pytest.raises(CorpusError, match="Line 4: .*found 2"):
            next(groups)

    def test_corpora_need_the_source_language_and_pipes_do_not(self, tmp_path):
        (tmp_path / "x.en").write_text("one\n")
        [pairs] = pair_groups([], None, Slow(b"one\tun\n"))
        assert pairs == [("one", "un")]
        with pytest.raises(CorpusError, match="--source must say from which"):
            pair_groups([str(tmp_path / "x")], None, None)

    def test_missing_file_is_told_before_any_is_read(self, tmp_path):
        there, missing = tmp_path / "there", tmp_path / "missing"
        there.write_text("one\n")
        with pytest.raises(CorpusError, match=f"There is no file {missing}"):
            line_groups([str(there), str(missing)], io.BytesIO())

    def test_byte_order_mark_begins_a_file_and_a_pipe(self, tmp_path):
        (tmp_path / "a").write_bytes("\ufeffone\n\ufefftwo\n".encode())
        pipe = Slow(b"\xef", b"\xbb\xbfone\n", "\ufefftwo\n".encode())
        by_path = list(line_groups([str(tmp_path / "a")], None))
        assert by_path == [["one", "\ufefftwo"]]
        assert list(line_groups([], pipe)) == [["one"], ["\ufefftwo"]]
        pairs = pair_groups([], "en-fr", Slow("\ufeffa\tb\n".encode()))
        assert list(pairs) == [[("a", "b")]]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["-", "/dev/stdin"])
    def test_names_of_standard_input(self, name, tmp_path):
        (tmp_path / "a").write_text("one\n")
        paths = [str(tmp_path / "a"), name]
        code = (
            "import sys; from translation.text.line_groups import *; "
            "print(list(line_groups(sys.argv[1:], sys.stdin.buffer)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *paths],
            input=b"two\nthree",
            capture_output=True,
        )
        assert done.stdout == b"[['one'], ['two'], ['three']]\n", done.stderr

    def test_pipes_by_path_are_read_as_they_come(self, tmp_path):
        pipes = [tmp_path / "a", tmp_path / "b"]
        for pipe in pipes:
            os.mkfifo(pipe)
        writers = [
            subprocess.Popen(["sh", "-c", f"printf '{text}' > {pipe}"])
            for pipe, text in zip(pipes, ("one\\ntwo", "a\\tb\\n"), strict=True)
        ]
        lines = list(line_groups([str(pipes[0])], None))
        assert sum(lines, []) == ["one", "two"]
        pairs = pair_groups([str(pipes[1])], "en-fr", None)
        assert list(pairs) == [[("a", "b")]]
        assert [writer.wait() for writer in writers] == [0, 0]

    def test_what_comes_before_a_fault_is_given_first(self, tmp_path):
        (tmp_path / "a").write_bytes(b"one\ntwo\n\xff\nfour\n")
        lines = line_groups([str(tmp_path / "a")], None)
        (tmp_path / "x.tsv").write_text("a\tb\nc\n")
        pairs = pair_groups([str(tmp_path / "x.tsv")], "en-fr", None)
        piped = pair_groups([], "en-fr", Slow(b"a\tb\nc\nd\te\n"))
        assert next(pairs) == next(piped) == [("a", "b")]
        assert next(lines) == ["one", "two"]
        for groups, fault in (
            (lines, "line 3: not UTF-8 at byte 1"),
            (pairs, "x.tsv, line 2: .*found 1"),
            (piped, "Standard input, line 2: .*found 1"),
        ):
            with pytest.raises(CorpusError, match=fault):
                next(groups)

    def test_blank_line_is_a_pair_of_empty_texts(self):
        pipe = Slow("\n\u3000\na\t\n\tb\n\t\n".encode())
        [pairs] = pair_groups([], "en-fr", pipe)
        assert pairs == [("", ""), ("", ""), ("a", ""), ("", "b"), ("", "")]

    def test_long_line_is_read_in_linear_time(self):
        # 32 MB in pieces of 64 KB: half of all pairs of pieces would be
        # copied if each piece made the line anew, 8 GB.
        pipe = Slow(*[b"x" * (1 << 16)] * 512)
        start = time.process_time()
        [[line]] = line_groups([], pipe)
        assert len(line) == 1 << 25
        assert time.process_time() - start < 2

    def test_line_that_is_no_pair_is_named(self):
        pipe = Slow(b"one\tun\n", b"two\n")
        groups = pair_groups([], "en-fr", pipe)
        next(groups)
        with pytest.raises(CorpusError, match="line 2: .*found 1"):
            next(groups)
