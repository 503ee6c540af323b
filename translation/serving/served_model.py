"""What every SavedModel has in common: functions of strings, by signature.

B: strings    L: length of the longest in subwords
"""

import contextlib
import functools
import types

import tensorflow as tf

from translation.serving.optional_inputs import taking
from translation.serving.quantized import QuantizedWeights
from translation.text.special_ids import EOS_ID, PAD_ID

# Stands where there is no score. Finite, because JSON has no infinity.
NO_SCORE = tf.float32.min

_INPUTS = [tf.TensorSpec([None], tf.string, "inputs")]

# Signatures that every model has: name of the method, and its inputs.
TEXT_SIGNATURES = {
    "tokenize": ("tokenize", _INPUTS),
    "detokenize": (
        "detokenize",
        [tf.TensorSpec([None, None], tf.int32, "ids")],
    ),
}


class ServedModel(tf.Module):
    """Base class of what `write_version` saves.

    All inputs and outputs of its functions have the leading dimension B, so
    that a server may join requests; no string depends on the others.

    A derived class has the methods of its signatures, and

    - `kind`, str: what the model is, for its card;
    - `specs`, dict by name of the signature: the name of a method, and a list
      of `tf.TensorSpec`, named as its arguments;
    - `defaults`, dict by name of an input: the value that stands for it where
      a request leaves it out, see `optional_inputs.py`.

    Args:
        tokenizer: `Tokenizer`, or a vocabulary with its methods.
        name: str.
    """

    kind = "model"
    specs = TEXT_SIGNATURES
    defaults = types.MappingProxyType({})

    def __init__(self, tokenizer, name):
        super().__init__(name=name)
        self.weights = []
        self.tracing_scope = contextlib.nullcontext
        self.tokenizer = tokenizer

    def about(self):
        """What the card tells of it: a dict that JSON can hold.

        Its entry `sizes` is added to the sizes of the SavedModel.
        """
        return {}

    def warmup_requests(self, texts):
        """Requests to every signature, for a server to run first.

        Args:
            texts: Sequence of str, the usual kind of input; may be empty.

        Returns:
            List of `(signature name, dict of tensors)`.
        """
        raise NotImplementedError

    def quantize(self, models):
        """Keeps the matrices of models in 8 bits from now on.

        Args:
            models: Sequence of the Keras models that the functions call.
        """
        self.tracing_scope = QuantizedWeights(models).scope

    def signatures(self):
        """Traces the functions to serve: a dict by signature name."""
        functions = {
            name: tf.function(
                taking(specs, self.in_scope(getattr(self, method))),
                input_signature=specs,
                autograph=False,
            ).get_concrete_function()
            for name, (method, specs) in self.specs.items()
        }
        # What is to be saved has to be found from an attribute.
        used = [x for f in functions.values() for x in f.graph.variables]
        self.weights = list({id(x): x for x in used}.values())
        return functions

    def in_scope(self, function):
        """The same function, to be traced: of weights in 8 bits, if they are.

        A function that is traced by itself, apart from those that call it,
        needs this for itself.
        """

        @functools.wraps(function)
        def traced(*inputs, **named):
            with self.tracing_scope():
                return function(*inputs, **named)

        return traced

    def tokenize(self, inputs):
        """Cuts each string into subwords, without eos, however many.

        Args:
            inputs: `(B,)` string.

        Returns:
            dict of `ids` `(B, L)` int32, padded with 0, `tokens` `(B, L)`
            string, padded with `""`, and `lengths` `(B,)` int32.
        """
        ids = self.tokenizer.tokenize(inputs)
        ids_BL = ids.to_tensor(PAD_ID)
        tokens_BL = self.tokenizer.pieces_of(ids_BL)
        return {
            "ids": ids_BL,
            "tokens": tf.where(tf.not_equal(ids_BL, PAD_ID), tokens_BL, ""),
            "lengths": tf.cast(ids.row_lengths(), tf.int32),
        }

    def detokenize(self, ids):
        """Joins each row of subwords to a text, as `Tokenizer.detokenize`.

        Args:
            ids: `(B, L)` int32, padded with 0.

        Returns:
            dict of `outputs` `(B,)` string.
        """
        return {"outputs": self.tokenizer.detokenize(ids)}

    def ended_ids(self, strings, longest):
        """Subwords `(B, L)` of strings `(B,)`, each row ending in eos.

        Args:
            strings: `(B,)` string.
            longest: int. Most subwords of a row, eos included; what is more
                is cut off.
        """
        return ended(self.tokenizer.tokenize(strings), longest)


def ended(ids, longest):
    """Ends rows of subwords in eos.

    Args:
        ids: `RaggedTensor` `(B, None)`, int32.
        longest: int. Most subwords of a row, eos included; what is more is
            cut off.

    Returns:
        Tensor `(B, L)`, padded.
    """
    ids = ids[:, : longest - 1]
    eos_B1 = tf.fill([ids.nrows(), 1], EOS_ID)
    return tf.concat([ids, eos_B1], axis=1).to_tensor(PAD_ID)


def never_empty(strings):
    """Puts a blank string into an empty batch: a model may need a row."""
    return tf.concat(
        [strings, tf.fill([1 - tf.minimum(tf.size(strings), 1)], "")], 0
    )


def joined(values, more):
    """Named tuples of tensors as one, the rows of `more` behind."""
    pairs = zip(values, more, strict=True)
    return type(values)(*(tf.concat(pair, 0) for pair in pairs))
