"""What is in a folder to serve: versions, and reports that training left."""

import dataclasses
import json
import pathlib

from tensorflow.core.protobuf import saved_model_pb2

CARD = "assets.extra/card.json"
MODEL_FILE = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """Where the versions are, and the run that they are of.

    Attributes:
        versions: `pathlib.Path` of the folder with a subfolder for each
            version, named by its number.
        run: `pathlib.Path` of the model folder, or None.
        only: int or None. The version that is served, and no other.
    """

    versions: pathlib.Path
    run: pathlib.Path | None
    only: int | None = None

    def numbers(self):
        """Numbers of the versions that are there, in order."""
        if self.only is not None:
            return [self.only]
        return _numbers(self.versions)

    def path(self, number):
        """Returns the path of a version."""
        return self.versions / str(number)

    def training_load(self):
        """Tokens of each expert in the last window of training, by layer."""
        file = self.run and self.run / "routing.jsonl"
        if not file or not file.is_file():
            return {}
        loads = {}
        for line in file.read_text("utf-8").splitlines():
            try:
                window = json.loads(line)
                loads[window["layer"]] = window["load"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that a killed run left unfinished
        return loads

    def specialties(self):
        """The most typical tokens of each expert, by layer, of experts.json.

        Returns:
            dict of lists with a list of str for each expert.
        """
        file = self.run and self.run / "experts.json"
        if not file or not file.is_file():
            return {}
        layers = json.loads(file.read_text("utf-8"))["layers"]
        return {
            layer["layer"]: [
                [use["token"] for use in expert["tokens"]]
                for expert in sorted(
                    layer["experts"], key=lambda expert: expert["expert"]
                )
            ]
            for layer in layers
        }


def find_model(path):
    """Finds what to serve.

    Args:
        path: str or path: a model folder with exports, a folder of versions
            named 1, 2, ..., or one version.

    Returns:
        `ModelFolder`.

    Raises:
        ValueError: if there is no exported version.
    """
    path = pathlib.Path(path).resolve()
    if (path / MODEL_FILE).is_file():
        if not _is_number(path.name):
            raise ValueError(
                "A version must be a folder that is named by its number, as "
                f"export/1. Received: {path}"
            )
        return ModelFolder(path.parent, _run_of(path.parent), int(path.name))
    if _numbers(path / "export"):
        return ModelFolder(path / "export", path)
    if _numbers(path):
        return ModelFolder(path, _run_of(path))
    if not path.is_dir():
        raise ValueError(f"There is no folder {path}.")
    raise ValueError(
        f"There is no exported version in {path}. Export the model first: "
        "python -m trainers.nmt --mode=export --model_dir=MODEL_DIR"
    )


def _run_of(versions):
    """The model folder that a folder of versions is in, or None."""
    run = versions.parent
    return run if (run / "config.json").is_file() else None


def _numbers(folder):
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if _is_number(path.name) and path.is_dir()
    )


def _is_number(name):
    return name.isascii() and name.isdigit() and str(int(name)) == name


def model_name(folder):
    """Names a model by what it does: `nmt` translates, `lm` continues.

    Args:
        folder: `ModelFolder`. Its newest version that can be read decides.
    """
    for number in reversed(folder.numbers()):
        file = folder.path(number) / MODEL_FILE
        try:
            model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        except Exception:  # protobuf's own error, or no such file
            continue
        signatures = model.meta_graphs[0].signature_def
        return "nmt" if "translate_nbest" in signatures else "lm"
    return "nmt"


def read_card(version_path):
    """Returns what a version says of itself, or an empty dict."""
    try:
        text = (version_path / CARD).read_text("utf-8")
        card = json.loads(text)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}
