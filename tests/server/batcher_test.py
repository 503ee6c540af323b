"""What shares a call, what waits, what is refused and what is given up."""

import asyncio
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from server.batcher import Batcher, BatchOptions, Job
from server.errors import ServingError
from server.signature import Signature, Tensor

TEXT = Tensor("inputs", "string", (None,))
OPTION = Tensor("beam_width", "int32", (None,))
OUTPUT = Tensor("outputs", "string", (None,))
PLAIN = Signature("plain", {"inputs": TEXT}, {"outputs": OUTPUT})
WITH_OPTION = Signature(
    "options", {"inputs": TEXT, "beam_width": OPTION}, {"outputs": OUTPUT}
)
PADDED = Signature(
    "padded",
    {"inputs": TEXT},
    {"tokens": Tensor("tokens", "string", (None, None))},
)


class Echo:
    """A model that says its texts again, once it is let; remembers calls."""

    def __init__(self):
        self.calls = []
        self.may_go = threading.Event()
        self.cancelled = threading.Event()

    def call(self, name, columns, cancellation):
        texts = columns["inputs"].tolist()
        self.calls.append(texts)
        while not self.may_go.wait(0.005):
            if cancellation.manager.is_cancelled:
                self.cancelled.set()
                raise tf.errors.CancelledError(None, None, "cancelled")
        if b"bad" in texts:
            raise tf.errors.InvalidArgumentError(None, None, "a bad text")
        return {"outputs": columns["inputs"]}


async def never():
    await asyncio.Event().wait()


def column(*texts):
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array


def job(model, *texts, signature=PLAIN, **options):
    columns = {"inputs": column(*texts)}
    columns |= {k: np.array(v, "int32") for k, v in options.items()}
    return Job(model, signature, columns)


def run(body, **options):
    """Runs a coroutine function of batcher and model; returns the calls."""
    model = Echo()

    async def whole():
        batcher = Batcher(BatchOptions(**options))
        try:
            await asyncio.wait_for(body(batcher, model), 20)
        finally:
            model.may_go.set()
            batcher.close()

    asyncio.run(whole())
    return model.calls


async def started(batcher, jobs, timeout=20.0):
    """Tasks of jobs, in the queue or running."""
    tasks = [
        asyncio.create_task(batcher.run(job, timeout, never)) for job in jobs
    ]
    await asyncio.sleep(0.02)
    return tasks


def texts(found):
    return found["outputs"].tolist()


class TestJoining:
    def test_those_that_wait_share_a_call_up_to_its_rows(self):
        async def body(batcher, model):
            jobs = [job(model, "a")]
            jobs += [job(model, f"b{i}", f"c{i}") for i in range(3)]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            answers = [texts(x) for x in await asyncio.gather(*tasks)]
            assert answers == [x.columns["inputs"].tolist() for x in jobs]

        # The first starts at once; of the others two fit into 5 rows.
        assert [len(x) for x in run(body, max_rows=5, delay=0.0)] == [1, 4, 2]

    def test_nobody_waits_for_others_that_do_not_come(self):
        async def body(batcher, model):
            model.may_go.set()
            begin = time.monotonic()
            for _ in range(3):
                await batcher.run(job(model, "a"), 20, never)
            assert time.monotonic() - begin < 5.0

        run(body, delay=5.0)

    def test_while_others_come_a_request_waits_for_them(self):
        async def body(batcher, model):
            tasks = await started(batcher, [job(model, x) for x in "abc"])
            model.may_go.set()
            await asyncio.gather(*tasks)  # b and c shared the last call
            first = asyncio.create_task(batcher.run(job(model, "d"), 20, never))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(
                batcher.run(job(model, "e"), 20, never)
            )
            await asyncio.gather(first, second)

        assert run(body, delay=0.3)[-1] == [b"d", b"e"]

    def test_nobody_waits_once_all_that_were_answered_together_are_back(self):
        async def body(batcher, model):
            tasks = await started(batcher, [job(model, x) for x in "abc"])
            model.may_go.set()
            await asyncio.gather(*tasks)  # b and c shared the last call
            begin = time.monotonic()
            again = await started(batcher, [job(model, x) for x in "de"])
            await asyncio.gather(*again)
            assert time.monotonic() - begin < 5.0

        assert run(body, delay=10.0)[-1] == [b"d", b"e"]

    def test_waiting_ends_when_no_other_comes(self):
        async def body(batcher, model):
            tasks = await started(batcher, [job(model, x) for x in "abcd"])
            model.may_go.set()
            await asyncio.gather(*tasks)
            tasks = await started(batcher, [job(model, x) for x in "ef"])
            await asyncio.sleep(0.3)  # of three that were answered two are back
            tasks += await started(batcher, [job(model, "g")])
            await asyncio.gather(*tasks)

        assert run(body, delay=0.1)[-2:] == [[b"e", b"f"], [b"g"]]

    def test_options_that_differ_are_not_mixed(self):
        async def body(batcher, model):
            widths = [[1], [2], [2, 2], [3], [2]]
            jobs = [job(model, "first")] + [
                job(
                    model,
                    *"xyz"[: len(w)],
                    signature=WITH_OPTION,
                    beam_width=w,
                )
                for w in widths
            ]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            await asyncio.gather(*tasks)

        sizes = [len(x) for x in run(body, delay=0.0)]
        assert sizes == [1, 1, 4, 1]  # beams of 2 share a call

    def test_one_option_goes_for_all_rows_of_its_request(self):
        calls = []

        class Widths(Echo):
            def call(self, name, columns, cancellation):
                calls.append(columns["beam_width"].tolist())
                return super().call(name, columns, cancellation)

        async def body(batcher, model):
            model = Widths()
            jobs = [
                job(model, "a", signature=WITH_OPTION, beam_width=[2]),
                job(model, "b", "c", signature=WITH_OPTION, beam_width=[2]),
                job(model, "d", signature=WITH_OPTION, beam_width=[2]),
            ]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            await asyncio.gather(*tasks)

        run(body, delay=0.0)
        assert calls == [[2], [2, 2, 2]]

    def test_padded_outputs_and_other_models_share_no_call(self):
        async def body(batcher, model):
            other = Echo()
            other.may_go.set()
            jobs = [job(model, x, signature=PADDED) for x in "abc"]
            jobs += [job(model, "d"), job(other, "e"), job(model, "f")]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            await asyncio.gather(*tasks)
            assert other.calls == [[b"e"]]

        assert run(body, delay=0.0) == [[b"a"], [b"b"], [b"c"], [b"d", b"f"]]

    def test_long_texts_share_no_call_with_short_ones(self):
        long = "x" * 600

        async def body(batcher, model):
            jobs = [job(model, x) for x in ("a", "b", long, "c", long)]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            await asyncio.gather(*tasks)

        assert [len(x) for x in run(body, delay=0.0)] == [1, 2, 2]

    def test_long_texts_leave_a_thread_to_short_ones(self):
        long = "x" * 600

        async def body(batcher, model):
            jobs = [job(model, x, signature=PADDED) for x in (long, long)]
            await started(batcher, jobs)
            assert len(model.calls) == 1
            await started(batcher, [job(model, "short")])
            assert model.calls[-1] == [b"short"]

        run(body, threads=2)

    def test_rows_of_a_shared_call_are_as_wide_as_alone(self):
        signature = Signature(
            "words",
            {"inputs": TEXT},
            {
                "lengths": Tensor("lengths", "int32", (None,)),
                "tokens": Tensor("tokens", "string", (None, None)),
            },
        )

        class Words(Echo):
            def call(self, name, columns, cancellation):
                texts = super().call(name, columns, cancellation)["outputs"]
                words = [text.split() for text in texts]
                lengths = np.array([len(x) for x in words])
                tokens = np.full([len(words), 5], b"", object)
                for row, found in zip(tokens, words, strict=True):
                    row[: len(found)] = found
                return {"lengths": lengths, "tokens": tokens}

        found = []

        async def body(batcher, model):
            model = Words()
            asked = [["a"], ["b c d", "e"], ["f g"], [""]]
            jobs = [job(model, *texts, signature=signature) for texts in asked]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            answers = await asyncio.gather(*tasks)
            found.extend(answer["tokens"].tolist() for answer in answers)
            assert len(model.calls) == 2

        run(body, delay=0.0)
        assert found == [
            [[b"a"]],
            [[b"b", b"c", b"d"], [b"e", b"", b""]],
            [[b"f", b"g"]],
            [[]],
        ]


class TestFailures:
    def test_a_bad_request_fails_alone(self):
        async def body(batcher, model):
            jobs = [job(model, x) for x in ("a", "b", "bad", "c")]
            tasks = await started(batcher, jobs)
            model.may_go.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [texts(found[i]) for i in (0, 1, 3)] == [
                [b"a"],
                [b"b"],
                [b"c"],
            ]
            assert (found[2].status, found[2].message) == (400, "a bad text")

        calls = run(body, delay=0.0)
        assert calls[1:] == [[b"b", b"bad", b"c"], [b"b"], [b"bad"], [b"c"]]

    def test_outputs_without_a_row_for_each_text_are_not_handed_out(self):
        class Short(Echo):
            def call(self, name, columns, cancellation):
                found = super().call(name, columns, cancellation)
                return {"outputs": found["outputs"][:1]}

        async def body(batcher, model):
            model = Short()
            tasks = await started(batcher, [job(model, x) for x in "abc"])
            model.may_go.set()
            found = await asyncio.gather(*tasks)
            assert [texts(x) for x in found] == [[b"a"], [b"b"], [b"c"]]

        run(body, delay=0.0)

    def test_a_full_queue_refuses_at_once(self):
        async def body(batcher, model):
            await started(batcher, [job(model, "a"), job(model, "b", "c")])
            with pytest.raises(ServingError) as caught:
                await batcher.run(job(model, "d", "e"), 20, never)
            assert caught.value.status == 429
            assert caught.value.retry_after >= 1
            assert "2 rows wait, and the limit is 3" in caught.value.message
            await started(batcher, [job(model, "f")])  # still fits
            assert batcher.waiting_rows == 3

        run(body, max_waiting=3)

    def test_a_request_larger_than_the_queue_is_taken_when_it_is_empty(self):
        async def body(batcher, model):
            model.may_go.set()
            found = await batcher.run(job(model, *"abcdef"), 20, never)
            assert len(texts(found)) == 6

        run(body, max_waiting=3)

    def test_after_the_time_out_neither_queue_nor_call_goes_on(self):
        async def body(batcher, model):
            jobs = [job(model, "a"), job(model, "b")]
            tasks = await started(batcher, jobs, timeout=0.1)
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [x.status for x in found] == [504, 504]
            assert "Timed out after 0.1 s" in found[0].message
            await asyncio.to_thread(model.cancelled.wait, 10)

        assert run(body) == [[b"a"]]

    def test_a_client_that_leaves_costs_nothing_more(self):
        async def body(batcher, model):
            leave = asyncio.Event()
            tasks = [
                asyncio.create_task(batcher.run(job(model, x), 20, leave.wait))
                for x in "ab"
            ]
            await asyncio.sleep(0.02)
            leave.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [x.status for x in found] == [499, 499]
            assert batcher.waiting_rows == 0
            await asyncio.to_thread(model.cancelled.wait, 10)
            assert model.cancelled.is_set()

        assert run(body) == [[b"a"]]

    def test_a_shared_call_goes_on_for_those_who_stay(self):
        async def body(batcher, model):
            leave = asyncio.Event()
            model.may_go.set()
            await batcher.run(job(model, "first"), 20, never)
            model.may_go.clear()
            [blocker] = await started(batcher, [job(model, "blocker")])
            leaving = asyncio.create_task(
                batcher.run(job(model, "leaves"), 20, leave.wait)
            )
            [staying] = await started(batcher, [job(model, "stays")])
            model.may_go.set()
            await blocker
            leave.set()
            await asyncio.gather(leaving, return_exceptions=True)
            assert texts(await staying) == [b"stays"]

        run(body, delay=0.0)
