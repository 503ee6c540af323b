"""Finds the vocabulary of a run: given, learned, or already in the folder."""

import dataclasses

from moe_keras.paths import local_path
from trainers.engine.folder.files import FolderError
from trainers.translator.folder import ModelFolder
from translation.text.directions import parse_directions
from translation.text.tokenizer.adopted import adopt_tokenizer
from translation.text.tokenizer.tokenizer import Tokenizer, TokenizerError
from translation.text.tokenizer.training import train_tokenizer


def given_tokenizer(config, folder):
    """Loads the vocabulary that the configuration names, if it is needed.

    That is `tokenizer_model`, or the vocabulary of the model that the run
    starts from. A run has its own copy, so that the file may move or go.

    Raises:
        TokenizerError: if it cannot be used.
        FolderError: if the folder has another one.
    """
    path = _given_path(config)
    if not path or _is_gone(path, folder):
        return None
    tokenizer = adopt_tokenizer(path, _wanted_form(config, folder))
    tokenizer = _with_targets(config, tokenizer)
    if tokenizer.vocab_size != config.model.vocab_size:
        raise TokenizerError(
            f"`vocab_size` must be that of {path}, which has "
            f"{tokenizer.vocab_size} subwords, bytes and special ids included: "
            f"--set vocab_size={tokenizer.vocab_size}. "
            f"Received: vocab_size={config.model.vocab_size}"
        )
    if not folder.tokenizer_path.exists():
        return tokenizer
    there, here = folder.load_tokenizer().sha256, tokenizer.sha256
    if there != here:
        raise FolderError(
            f"{folder.path} holds a model of another vocabulary than {path}: "
            f"tokenizer.sha256 (there {there!r}, now {here!r}). Take another "
            "--model_dir."
        )
    return None


def _given_path(config):
    """Returns the path of the vocabulary that is named, or an empty str."""
    if config.init_from:
        return str(ModelFolder(config.init_from).tokenizer_path)
    return config.tokenizer_model


def _wanted_form(config, folder):
    """Returns the normal form of the vocabulary, or None if none is named."""
    if config.normalization != "auto":
        return config.normalization
    if folder.tokenizer_path.exists():
        return folder.load_tokenizer().normalization
    return None


def _is_gone(path, folder):
    """Whether the run used this file, and the file is gone."""
    if not folder.has_config() or not folder.tokenizer_path.exists():
        return False
    is_same = _given_path(folder.load_config()) == path
    return is_same and not local_path(path).exists()


def make_tokenizer(config, folder, corpus, given, log):
    """Leaves a tokenizer in the folder, if there is none."""
    if folder.tokenizer_path.exists():
        return
    if given is not None:
        folder.save_tokenizer(given)
        return
    log(f"Training a vocabulary of {config.model.vocab_size} subwords ...")
    tokenizer = train_tokenizer(
        corpus.sample(config.vocabulary_sentences, config.loop.seed),
        config.model.vocab_size,
        config.vocabulary_type,
        config.vocabulary_sentences,
        config.character_coverage,
        normalization=_wanted_form(config, folder) or "NFC",
    )
    folder.save_tokenizer(_with_targets(config, tokenizer))


def _with_targets(config, tokenizer):
    """The vocabulary with tokens for the target languages, if several."""
    return tokenizer.with_targets(parse_directions(config.pair).target_tokens)


def shared_tokenizer(folder):
    """Loads the tokenizer in the folder, which all workers use."""
    if not folder.tokenizer_path.exists():
        raise FolderError(
            f"There is no {folder.tokenizer_path}, though the chief has "
            "written it: all workers must have the same folder under this "
            "path."
        )
    return Tokenizer.load(folder.tokenizer_path)


def with_vocabulary(config, tokenizer):
    """Takes size and normal form of the vocabulary into the configuration.

    A small corpus may give fewer subwords than asked for. If no normal form of
    text was named, it is that of the vocabulary.

    Raises:
        TokenizerError: if another normal form was named.
    """
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    here = tokenizer.normalization
    if config.normalization not in ("auto", here):
        raise TokenizerError(
            f"The vocabulary brings text into normalization={here}, and "
            f"stays so. Received: normalization={config.normalization}"
        )
    return dataclasses.replace(config, model=model, normalization=here)
