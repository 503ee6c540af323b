"""The table of subwords: vectors going in, logits coming out."""

import keras
from keras import ops

from moe_keras.packed.layer import PackedMatrices


@keras.saving.register_keras_serializable(package="translation")
class SubwordEmbedding(PackedMatrices, keras.layers.Layer):
    """Looks subwords up and, as a softmax layer, scores them.

    One object may serve as source table, target table and softmax kernel
    (shared embeddings), or each may have its own. The numbers of the table
    begin with variance `1 / depth`, fit for a softmax kernel; looked-up
    vectors are multiplied by `sqrt(depth)` (arXiv:1706.03762, section 3.4),
    so that layers begin with inputs of unit variance.

    Args:
        vocab_size: int. Number of subwords.
        depth: int. Size of a vector.
        dropout: float. Rate of dropout on looked-up vectors.
        scores: bool. Whether `logits` will be called: adds a bias `(V,)`.
        **kwargs: `quantization`, see `moe_keras.packed.layer.FewBits`, and
            arguments of every Keras layer.

    Call arguments:
        ids: Integer tensor of any shape, values in `[0, vocab_size)`.

    Returns:
        Tensor of shape `(*ids.shape, depth)`.

    Example:

    >>> import numpy as np
    >>> table = SubwordEmbedding(vocab_size=10, depth=4, scores=True)
    >>> vectors = table(np.array([[1, 2, 3]]))
    >>> tuple(vectors.shape), tuple(table.logits(vectors).shape)
    ((1, 3, 4), (1, 3, 10))
    """

    matrices = {"table": 1}  # scales of each subword
    made = ("table", "bias")

    def __init__(self, vocab_size, depth, dropout=0.0, scores=False, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.depth = depth
        self.scores = scores
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.table = self.add_matrix(
            "table",
            (self.vocab_size, self.depth),
            keras.initializers.RandomNormal(stddev=self.depth**-0.5),
        )
        if self.scores:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.vocab_size,),
                initializer="zeros",
                autocast=False,  # is added to logits, which are not cast
            )

    def call(self, ids, training=False):
        if self.quantization is None:
            vectors = ops.take(self.table, ids, axis=0)
        else:
            vectors = self.table.rows(ids)
        vectors = ops.cast(vectors, self.compute_dtype) * self.depth**0.5
        return self.dropout(vectors, training=training)

    def logits(self, outputs):
        """Scores every subword for each output.

        Args:
            outputs: Tensor `(..., depth)`.

        Returns:
            Unnormalised log-probabilities `(..., vocab_size)`, float32 (or
            float64 under that policy).
        """
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        with keras.name_scope(f"{self.name}_logits"):
            kernel = ops.cast(self.table, self.compute_dtype)
            scores = ops.matmul(
                ops.cast(outputs, self.compute_dtype), ops.transpose(kernel)
            )
            return ops.cast(scores, wide) + ops.cast(self.bias, wide)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.depth)

    def get_config(self):
        return {
            **super().get_config(),
            "vocab_size": self.vocab_size,
            "depth": self.depth,
            "dropout": self.dropout.rate,
            "scores": self.scores,
        }
