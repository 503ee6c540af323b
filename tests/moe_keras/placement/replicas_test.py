import tensorflow as tf

from moe_keras.placement.replicas import sum_over_replicas


def test_one_replica_has_the_sum_already():
    totals = tf.constant([1.0, 2.0])
    assert sum_over_replicas(totals) is totals


def test_the_sum_of_two_replicas_and_its_gradient(two_replicas):
    """Replicas hold 1 and 2: both see 3. Of 3**2 summed over both replicas,
    the derivative to either is 2 * (2 * 3) = 12."""

    @tf.function(autograph=False)
    def of_replica():
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        value = tf.cast(rank + 1, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(value)
            total = sum_over_replicas(value)
            squared = total**2
        return total, tape.gradient(squared, value)

    totals, gradients = two_replicas.run(of_replica)
    assert [float(x) for x in totals.values] == [3.0, 3.0]
    assert [float(x) for x in gradients.values] == [12.0, 12.0]
