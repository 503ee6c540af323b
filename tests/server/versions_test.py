"""Versions come, go and are broken while requests run."""

import asyncio
import pathlib

import pytest

from server.errors import ServingError
from server.model_folder import find_model
from server.versions import Versions


class Loaded:
    """A model that is named by the text of its file; `broken` is none."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.text = (self.path / "saved_model.pb").read_text()
        if self.text == "broken":
            raise ValueError("it is\nbroken")

    def warm_up(self):
        return 0


def write(folder, number, text="good"):
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "saved_model.pb").write_text(text)


def remove(folder, number):
    (folder / str(number) / "saved_model.pb").unlink()
    (folder / str(number)).rmdir()


def states(versions):
    return {int(s["version"]): s["state"] for s in versions.statuses()}


def run(folder, body, **options):
    """Runs a coroutine function of `Versions` and a list of changes."""
    changes = []

    async def whole():
        versions = Versions(
            find_model(folder),
            "nmt",
            on_change=lambda v: changes.append((v.number, v.state)),
            load=Loaded,
            **options,
        )
        await versions.look()
        try:
            await body(versions)
        finally:
            versions.close()

    asyncio.run(whole())
    return changes


class TestSwitch:
    def test_the_newest_is_served_and_a_newer_one_taken_up(self, tmp_path):
        write(tmp_path, 9)
        write(tmp_path, 10)

        async def body(versions):
            assert versions.current.number == 10
            write(tmp_path, 11)
            await versions.look()
            assert versions.current.number == 11
            assert states(versions) == {11: "AVAILABLE", 10: "END"}

        assert run(tmp_path, body) == [
            (10, "AVAILABLE"),
            (11, "AVAILABLE"),
            (10, "END"),
        ]

    def test_an_old_version_stays_until_its_last_request(self, tmp_path):
        write(tmp_path, 1)

        async def body(versions):
            with versions.use() as old:
                write(tmp_path, 2)
                await versions.look()
                assert states(versions)[1] == "UNLOADING"
                assert old.number == 1 and old.model is not None
                with versions.use() as new:
                    assert new.number == 2
            assert states(versions)[1] == "END" and old.model is None

        run(tmp_path, body)

    def test_several_may_be_kept(self, tmp_path):
        for number in (1, 2, 3):
            write(tmp_path, number)

        async def body(versions):
            assert states(versions) == {3: "AVAILABLE", 2: "AVAILABLE"}
            with versions.use(2) as version:
                assert version.number == 2
            with pytest.raises(ServingError) as caught:
                versions.use(1).__enter__()
            assert caught.value.status == 404
            assert caught.value.message == (
                "Servable not found for request: Specific(nmt, 1)"
            )

        run(tmp_path, body, keep=2)

    def test_after_the_newest_is_removed_the_one_before_is_back(self, tmp_path):
        write(tmp_path, 1)
        write(tmp_path, 2)

        async def body(versions):
            remove(tmp_path, 2)
            await versions.look()
            assert versions.current.number == 1
            remove(tmp_path, 1)
            await versions.look()  # nothing is left to take its place
            assert versions.current.number == 1

        run(tmp_path, body)

    def test_folders_that_are_no_versions_are_left_alone(self, tmp_path):
        write(tmp_path, 1)
        for name in ("unfinished-abc", "007", "²", "notes"):
            write(tmp_path, name)

        async def body(versions):
            assert states(versions) == {1: "AVAILABLE"}

        run(tmp_path, body)

    def test_of_one_version_no_other_is_taken(self, tmp_path):
        write(tmp_path, 1)
        write(tmp_path, 2)

        async def body(versions):
            assert states(versions) == {1: "AVAILABLE"}

        run(tmp_path / "1", body)


class TestBroken:
    def test_it_is_named_and_the_old_one_stays(self, tmp_path):
        write(tmp_path, 1)

        async def body(versions):
            write(tmp_path, 2, "broken")
            await versions.look()
            await versions.look()  # it is not tried again
            assert versions.current.number == 1
            (status,) = versions.statuses(2)
            assert status["state"] == "END"
            assert status["status"] == {
                "error_code": "UNKNOWN",
                "error_message": "it is broken",
            }

        assert run(tmp_path, body) == [(1, "AVAILABLE"), (2, "END")]

    def test_it_is_tried_again_when_it_changes(self, tmp_path):
        write(tmp_path, 1)

        async def body(versions):
            write(tmp_path, 2, "broken")
            await versions.look()
            write(tmp_path, 2, "whole")
            await versions.look()
            assert versions.current.number == 2

        run(tmp_path, body)

    def test_at_the_start_the_one_before_is_served(self, tmp_path):
        write(tmp_path, 1)
        write(tmp_path, 2, "broken")

        async def body(versions):
            assert versions.current.number == 1

        run(tmp_path, body)

    def test_without_a_good_one_there_is_none(self, tmp_path):
        write(tmp_path, 1, "broken")

        async def body(versions):
            assert versions.current is None
            with pytest.raises(ServingError, match=r"Latest\(nmt\)"):
                versions.use().__enter__()

        run(tmp_path, body)


def test_before_the_first_is_loaded_clients_are_asked_to_come_back(tmp_path):
    write(tmp_path, 1)

    async def whole():
        versions = Versions(find_model(tmp_path), "nmt", load=Loaded)
        looking = asyncio.create_task(versions.look())
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(ServingError) as caught:
            versions.use().__enter__()
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
        await looking
        assert versions.current.number == 1
        versions.close()

    asyncio.run(whole())


class TestFolders:
    def test_of_a_run_of_versions_and_of_one(self, tmp_path):
        run, export = tmp_path / "run", tmp_path / "run/export"
        export.mkdir(parents=True)
        (run / "config.json").write_text("{}")
        write(export, 3)
        assert find_model(run).versions == export
        assert find_model(export).run == find_model(run).run == run
        assert find_model(export / "3").only == 3
        assert find_model(str(run)).numbers() == [3]

    def test_without_versions_the_way_on_is_said(self, tmp_path):
        with pytest.raises(ValueError, match="--mode=export"):
            find_model(tmp_path)
        with pytest.raises(ValueError, match="There is no folder"):
            find_model(tmp_path / "nowhere")
        write(tmp_path, "v1")
        with pytest.raises(ValueError, match="named by its number"):
            find_model(tmp_path / "v1")
