"""The vocabulary of a run: given, learned from its corpus, or there already."""

import dataclasses

from trainers.model_folder import FolderError
from translation.adopted_tokenizer import adopt_tokenizer
from translation.tokenizer import Tokenizer, TokenizerError
from translation.tokenizer_training import train_tokenizer


def given_tokenizer(config, folder):
    """The vocabulary that the configuration names, if it is needed."""
    path = config.tokenizer_model
    if not path or folder.tokenizer_path.exists():
        return None
    tokenizer = adopt_tokenizer(path)
    if tokenizer.vocab_size != config.model.vocab_size:
        raise TokenizerError(
            f"`vocab_size` must be that of {path}, which has "
            f"{tokenizer.vocab_size} subwords, bytes and special ids included: "
            f"--set vocab_size={tokenizer.vocab_size}. "
            f"Received: vocab_size={config.model.vocab_size}"
        )
    return tokenizer


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
    )
    folder.save_tokenizer(tokenizer)


def shared_tokenizer(folder):
    """The tokenizer in the folder, which workers share."""
    if not folder.tokenizer_path.exists():
        raise FolderError(
            f"There is no {folder.tokenizer_path}, though the chief has "
            "written it: all workers must have the same folder under this "
            "path."
        )
    return Tokenizer.load(folder.tokenizer_path)


def with_vocabulary(config, tokenizer):
    """A small corpus may bear fewer subwords than asked for."""
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    return dataclasses.replace(config, model=model)
