"""Experts shared out to the replicas of a `tf.distribute` strategy."""
