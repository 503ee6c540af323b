"""Labels of lines: as many as lines, or an error that says both numbers."""

import gzip

import pytest

from translation.text.text_files import CorpusError, read_labels


def test_labels_are_lines_plain_or_compressed(tmp_path):
    plain, packed = tmp_path / "labels", tmp_path / "labels.gz"
    plain.write_text("dog\n\ncat\n")
    packed.write_bytes(gzip.compress(b"dog\n\ncat\n"))
    assert read_labels(plain, 3) == ["dog", "", "cat"]
    assert read_labels(str(packed), 3) == ["dog", "", "cat"]
    assert read_labels(None, 3) is None


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_labels_is_refused(count, tmp_path):
    path = tmp_path / "labels"
    path.write_text("dog\ncat\n")
    with pytest.raises(CorpusError, match=f"each of the {count} .*has 2"):
        read_labels(path, count)
