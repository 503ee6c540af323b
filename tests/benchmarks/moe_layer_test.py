"""What the comparison of layers times."""

import numpy as np
import tensorflow as tf


def test_a_step_gives_the_loss_of_a_whole_forward_pass(load):
    moe_layer = load("moe_layer")
    layers = moe_layer.make_layers(8, 3, 4, 2, 1)
    x, d_y = (tf.random.stateless_normal((8, 3), [1, n]) for n in range(2))
    (loss,) = moe_layer.make_step(layers["dense"], x, d_y, backward=True)()
    first, second = layers["dense"].layers
    hidden = np.maximum(x @ first.kernel.numpy() + first.bias.numpy(), 0)
    outputs = hidden @ second.kernel.numpy() + second.bias.numpy()
    np.testing.assert_allclose(loss, np.sum(outputs * d_y), rtol=1e-5)
