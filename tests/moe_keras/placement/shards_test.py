"""Parts of a weight in variables, and files that hold it whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras.placement.shards import (
    Shard,
    assign_shards,
    device_of,
    gather_shards,
    mark,
    shard_of,
    whole_variables,
)

# A weight (E, D, H) = (2, 3, 4); W[e, d, h] = 100 e + 10 d + h.
SHAPE = (2, 3, 4)
WHOLE = np.array(
    [
        [[100 * e + 10 * d + h for h in range(4)] for d in range(3)]
        for e in range(2)
    ],
    "float32",
)


def _slices(*bounds):
    return tuple(slice(*pair) for pair in bounds)


# Two ways to cut it. One variable has, of two kernels side by side in the
# last dimension (h = 0, 1 and h = 2, 3), the first unit of each.
BY_EXPERT = [
    Shard("moe/w", SHAPE, (_slices((e, e + 1), (0, 3), (0, 4)),), axis=0)
    for e in range(2)
]
SIDE_BY_SIDE = [
    Shard(
        "moe/w",
        SHAPE,
        tuple(_slices((0, 2), (0, 3), (h, h + 1)) for h in (unit, unit + 2)),
        axis=2,
    )
    for unit in range(2)
]
WAYS = {"by expert": BY_EXPERT, "side by side": SIDE_BY_SIDE}


def marked(shards):
    """A variable of zeros for each shard."""
    variables = []
    for shard in shards:
        variables.append(tf.Variable(tf.zeros(shard.part_shape)))
        mark(variables[-1], shard)
    return variables


class TestShard:
    def test_shape_of_the_variable(self):
        assert BY_EXPERT[1].part_shape == (1, 3, 4)
        assert SIDE_BY_SIDE[1].part_shape == (2, 3, 2)

    def test_pieces_lie_side_by_side(self):
        part = SIDE_BY_SIDE[1].take(WHOLE)  # units 1 and 3
        np.testing.assert_array_equal(part[1, 2], [121, 123])

    @pytest.mark.parametrize("way", WAYS)
    def test_taken_apart_and_put_together_it_is_as_before(self, way):
        whole = np.full(SHAPE, np.nan)
        for shard in WAYS[way]:
            shard.put(shard.take(WHOLE), whole)
        np.testing.assert_array_equal(whole, WHOLE)

    def test_of_one_expert_the_same_is_taken(self):
        for shard in SIDE_BY_SIDE:
            for e in range(2):
                np.testing.assert_array_equal(
                    shard.take_of_one(tf.constant(WHOLE[e])),
                    shard.take(WHOLE)[e],
                )

    def test_places_are_those_of_tensorflow(self):
        # Shape of the whole, then first index and length in each dimension.
        assert SIDE_BY_SIDE[1].places == [
            "2 3 4 0,2:0,3:1,1",
            "2 3 4 0,2:0,3:3,1",
        ]


class TestMarks:
    def test_keras_variable_and_its_value_are_one(self):
        variable = keras.Variable(np.zeros((1, 3, 4)))
        assert shard_of(variable) is shard_of(variable.value) is None
        mark(variable, BY_EXPERT[0])
        assert shard_of(variable) is shard_of(variable.value) is BY_EXPERT[0]

    def test_what_is_made_of_a_shard_stays_beside_it(self):
        with tf.device("CPU:1"):
            variable = tf.Variable(tf.zeros((1, 3, 4)))
        with device_of(variable):
            assert "CPU:0" in tf.zeros(()).device  # no shard yet
        mark(variable, BY_EXPERT[0])
        with device_of(variable):
            assert "CPU:1" in tf.zeros(()).device


class TestValues:
    @pytest.mark.parametrize("way", WAYS)
    def test_what_is_shared_out_comes_together_again(self, way):
        variables = marked(WAYS[way])
        assign_shards(WHOLE.tolist(), variables)
        np.testing.assert_array_equal(gather_shards(variables), WHOLE)

    def test_other_shape_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"\(2, 3, 4\) of moe/w.*\(3, 4\)"):
            assign_shards(WHOLE[0], marked(BY_EXPERT))


class TestCheckpoints:
    def test_shards_of_a_weight_are_one_entry_among_the_others(self):
        one, other = tf.Variable(1.0), keras.Variable(2.0)
        first, second = marked(BY_EXPERT)
        listed = whole_variables([one, first, other, second])
        assert [listed[0], listed[2]] == [one, other.value]
        assert len(listed) == 3
        assert listed[1].path == "moe/w" and listed[1].of_replicas is None
        assert listed[1].shards == [first, second]

    @pytest.mark.parametrize("there", [*WAYS, "whole"])
    @pytest.mark.parametrize("here", [*WAYS, "whole"])
    def test_file_does_not_tell_how_the_weight_was_cut(
        self, here, there, tmp_path
    ):
        def variables(way):
            if way == "whole":
                return [tf.Variable(0 * WHOLE)]
            return marked(WAYS[way])

        ours, theirs = variables(here), variables(there)
        if here == "whole":
            ours[0].assign(WHOLE)
        else:
            assign_shards(WHOLE, ours)
        checkpoint = tf.train.Checkpoint(w=whole_variables(ours))
        path = checkpoint.write(str(tmp_path / "ckpt"))
        restored = tf.train.Checkpoint(w=whole_variables(theirs))
        restored.read(path).assert_consumed()
        found = theirs[0].numpy() if there == "whole" else gather_shards(theirs)
        np.testing.assert_array_equal(found, WHOLE)

    def test_file_holds_the_pieces_of_other_processes_too(self, tmp_path):
        mine, theirs = marked(BY_EXPERT)
        assign_shards(WHOLE, [mine])
        (whole,) = whole_variables([mine])
        (place,) = shard_of(theirs).places
        whole.pieces_elsewhere[place] = tf.constant(WHOLE[1:])
        checkpoint = tf.train.Checkpoint(w=[whole])
        path = checkpoint.write(str(tmp_path / "ckpt"))
        alone = tf.Variable(0 * WHOLE)
        tf.train.Checkpoint(w=[alone]).read(path).assert_consumed()
        np.testing.assert_array_equal(alone, WHOLE)
