"""Experts of a user's own, linear ones, that keep their weights in odd places.

`y = x W` for each expert, with kernels `(E, D, D)`. Every class takes its
kernel by another way; `Linear` by the right one.
"""

import tensorflow as tf

from moe_keras.experts.stacked import StackedExperts


class Linear(StackedExperts):
    """Reads its kernel by name."""

    supports_segments = False

    def __init__(self, num_experts, **kwargs):
        super().__init__(**kwargs)
        self.num_experts = num_experts

    def draw(self, expert, shape, dtype=None):
        values = tf.random.stateless_normal(shape, [expert, 7])
        return tf.cast(values, dtype or "float32")

    def build(self, input_shape):
        depth = input_shape[-1]
        self.kernel = self.add_expert_weight(
            "kernel", self.draw, depth=depth, output=depth
        )

    def call(self, inputs, local=None):
        return tf.matmul(inputs, self.read("kernel", local))


class BehindClosure(Linear):
    """Has the weight in no attribute of its own."""

    def build(self, input_shape):
        depth = input_shape[-1]
        kept = [
            self.add_expert_weight(
                "kernel", self.draw, depth=depth, output=depth
            )
        ]
        self._name_of_kept = lambda: kept[0].name

    def call(self, inputs, local=None):
        return tf.matmul(inputs, self.read(self._name_of_kept(), local))


class WithoutLocal(Linear):
    """Would always run all experts."""

    def call(self, inputs):
        return tf.matmul(inputs, self.read("kernel", None))


class LocalIgnored(Linear):
    """Reads the whole weight although it is told which experts to run."""

    def call(self, inputs, local=None):
        kernel = self.read("kernel", None)
        return tf.matmul(inputs, kernel[: tf.shape(inputs)[0]])


class Attribute(Linear):
    """Takes the weight itself for a tensor."""

    def call(self, inputs, local=None):
        return tf.matmul(inputs, self.kernel)


class AddWeight(Linear):
    """Makes its kernel as other Keras layers do."""

    def build(self, input_shape):
        depth = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(self.num_experts, depth, depth)
        )

    def call(self, inputs, local=None):
        return tf.matmul(inputs, self.kernel[: tf.shape(inputs)[0]])


class HiddenVariable(Linear):
    """Computes with a variable that nobody knows of."""

    def build(self, input_shape):
        depth = input_shape[-1]
        self.add_expert_weight("kernel", self.draw, depth=depth, output=depth)
        variable = tf.Variable(tf.ones((self.num_experts, depth, depth)))
        self._hidden = lambda: variable

    def call(self, inputs, local=None):
        return tf.matmul(inputs, self._hidden()[: tf.shape(inputs)[0]])


# Class: the error it gets where experts are split, and when.
REFUSED_WHEN_BUILT = {
    WithoutLocal: "must take an argument `local`.*WithoutLocal.call",
    AddWeight: "with `add_expert_weight`.*kernel",
}
REFUSED_WHEN_CALLED = {
    LocalIgnored: "self.read",
    Attribute: "split into shards.*self.read",
    HiddenVariable: "must take its weights by `self.read",
}
