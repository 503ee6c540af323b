"""Paths are of this machine, and `~` is the home folder."""

import pathlib

import pytest

from moe_keras.paths import local_path


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/run") == pathlib.Path("/home/me/run")
    assert local_path(pathlib.Path("~")) == pathlib.Path("/home/me")
    assert local_path("a/~b") == pathlib.Path("a/~b")


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket/run",
        "s3://bucket/run",
        "hdfs://host:9000/run",
        "https://host/run",
        "file:///tmp/run",
        "GS://bucket",
        pathlib.Path("gs://bucket/run"),  # it has one slash
    ],
)
def test_url_is_refused(url):
    with pytest.raises(ValueError, match="no URLs.*Received: .*" + "bucket|/"):
        local_path(url)


@pytest.mark.parametrize("path", ["a:b/c", "a@2", "12:30", "c:/x", "./gs:/x"])
def test_name_with_a_colon_is_a_path(path):
    assert local_path(path) == pathlib.Path(path)


def test_home_of_nobody_is_told():
    with pytest.raises(ValueError, match="~nobody-of-that-name"):
        local_path("~nobody-of-that-name/run")
