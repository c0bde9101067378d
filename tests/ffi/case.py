"""examples/ffi/python/sparsenet.py: case.py FOLDER, where reference.c has been. Wants PYTHONPATH, SPARSENET_LIBRARY and
COUNTING (counting.c as a shared object). With NO_NUMPY set, the binding must do without."""
import array
import ctypes
import gc
import json
import os
import signal
import sys
import threading
import unittest

if os.environ.get("NO_NUMPY"):
    sys.modules["numpy"] = None
import sparsenet as sn

numpy = sn.numpy
FOLDER = sys.argv.pop(1)
counting = ctypes.CDLL(os.environ["COUNTING"])
counting.counting_live_bytes.restype = ctypes.c_size_t
TEXTS = "for i in range(10):\n    print(i)\n", "name = 'a' + \"b\"\n"


def path(name):
    return os.path.join(FOLDER, name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def open_context(**settings):
    return sn.Context(allocator=ctypes.c_void_p.in_dll(counting, "counting_allocator"), **settings)


def load(context):
    return sn.Model.load(context, path("model.safetensors")), sn.Tokenizer(context, path("tokenizer"))


class Case(unittest.TestCase):
    """Each test has a context of its own, and leaves nothing behind in the counting allocator."""

    def setUp(self):
        self.context = open_context()
        self.model, self.tokenizer = load(self.context)

    def tearDown(self):
        for name in ("context", "model", "tokenizer"):
            delattr(self, name)
        gc.collect()
        self.assertEqual(counting.counting_live_bytes(), 0)

    def tokens(self):
        return [self.tokenizer.encode(text) for text in TEXTS]

    def session(self, **options):
        session = sn.Session(self.context, self.model, **options)
        session.forward(self.tokens())
        return session

    def ready(self):
        """Means and a task for a circuit, as reference.c makes them."""
        corpus = sn.Corpus(self.context)
        corpus.add_idioms(20000, seed=5)
        corpus.tokenize(self.tokenizer)
        means = sn.Means(self.context, self.model, corpus, tokens=4096)
        task = sn.Task.python(
            self.context, self.tokenizer, "single_double_quote", 24, seed=2, max_tokens=60
        )
        return corpus, means, task

    def extract(self):
        corpus, means, task = self.ready()
        circuit = sn.Circuit.extract(
            self.context, self.model, means, task, steps=40, k_coef=1e-3, batch=16
        )
        return corpus, means, task, circuit


class Numbers(Case):
    """The same as C has."""

    def test_logits(self):
        logits = self.session().logits()
        self.assertEqual(bytes(logits), read("c.logits"))
        self.assertEqual(logits.shape, (sum(map(len, self.tokens())), self.model.config["vocab_size"]))

    def test_packed_and_rectangular_batches(self):
        session, first = self.session(), self.tokens()[0]
        whole = bytes(session.logits())
        packed = array.array("i", [token for one in self.tokens() for token in one])
        session.forward(packed, offsets=[0, len(first), len(packed)])
        self.assertEqual(bytes(session.logits()), whole)
        session.forward([first, first])
        twice = bytes(session.logits())
        self.assertEqual(twice[: len(twice) // 2], twice[len(twice) // 2 :])
        self.assertEqual(twice[: len(twice) // 2], whole[: len(twice) // 2])

    def test_generated_text(self):
        generator = sn.Generator(self.context, self.model, temperature=0.8, seed=3)
        generator.append(self.tokenizer.encode("print("))
        tokens = [generator.next() for _ in range(24)]
        self.assertEqual(self.tokenizer.decode(tokens), read("c.text"))
        self.assertLessEqual(len(list(generator)), self.model.config["block_size"])
        self.assertEqual(len(generator), self.model.config["block_size"])

    def test_circuit(self):
        corpus, means, task, circuit = self.extract()
        circuit.trace(means, self.tokenizer, task)
        for form in ("json", "svg", "html", "dot", "graphml"):
            circuit.write(path(f"python.{form}"))
            self.assertEqual(circuit.text(form).encode(), read(f"python.{form}"))
        self.assertEqual(read("python.json"), read("c.json"))
        self.assertEqual(read("python.svg"), read("c.svg"))
        self.assertEqual(circuit._repr_svg_().encode(), read("c.svg"))
        self.assertEqual(
            [one["name"] for one in json.loads(circuit.text("json"))["nodes"]], circuit.nodes
        )
        evaluation = circuit.evaluate(means, task)
        self.assertEqual(evaluation.n_pairs, 24)
        self.assertLess(evaluation.loss, 0.15)
        self.assertEqual(
            sn.Circuit.load(self.context, self.model, path("python.json")).edges, circuit.edges
        )
        evidence = sn.Evidence(self.context, circuit, corpus, tokens=512)
        counts, edges = evidence.histogram(circuit.nodes[0])
        summary = evidence.summary(circuit.nodes[0])
        self.assertEqual(sum(counts), summary.n_tokens - summary.n_zero)
        circuit.write(path("python_page.html"), tokenizer=self.tokenizer, task=task, evidence=evidence)
        self.assertIn(b'"evidence":{', read("python_page.html"))

    def test_circuits_combine(self):
        a, b = sn.Circuit(self.context, self.model, "a"), sn.Circuit(self.context, self.model, "b")
        a.add("0.attn.act_in.1", "0.mlp.act_in.2")
        b.add("0.attn.act_in.1")
        self.assertEqual((a & b).nodes, ["0.attn.act_in.1"])
        self.assertEqual((a - b).nodes, ["0.mlp.act_in.2"])
        self.assertEqual((a | b).nodes, a.nodes)
        a.set_label("0.mlp.act_in.2", "reads é")
        self.assertEqual(a.label("0.mlp.act_in.2"), "reads é")
        self.assertIsNone(a.label("0.attn.act_in.1"))
        a.set_measurement("x", 0.5)
        self.assertEqual(a.measurements, {"x": 0.5})
        self.assertEqual(a.model.config, self.model.config)

    def test_training(self):
        task = sn.Task.python(self.context, self.tokenizer, "single_double_quote", 8, max_tokens=60)
        trainer = sn.Trainer(
            self.context, self.model, steps=3, batch=2, density=0.5, learning_rate_scale="none"
        )
        trainer.add_task(task)
        with self.assertRaises(BufferError):
            task.add_pair([1], [2], 3, 4)
        trainer.run()
        self.assertEqual(trainer.statistic("step"), 3)
        self.assertEqual(trainer.snapshot().config, self.model.config)
        trainer.save(path("trainer"))
        self.assertEqual(sn.Trainer.load(self.context, path("trainer")).statistic("step"), 3)
        trainer.close()
        task.add_pair([1], [2], 3, 4)
        self.assertEqual(len(task), 9)

    def test_interventions_and_gradients(self):
        session = self.session(gradients="support")
        before = bytes(session.logits())
        site = "0.mlp.post_act"
        session.record(site)
        session.intervene(site, sn.SET, [0.0] * self.model.sites[site])
        session.forward(self.tokens())
        self.assertFalse(any(bytes(session.activations(site))))
        self.assertNotEqual(bytes(session.logits()), before)
        session.clear_interventions()
        session.forward(self.tokens())
        self.assertEqual(bytes(session.logits()), before)
        self.assertTrue(any(bytes(session.activations(site))))
        n = sum(map(len, self.tokens()))
        loss = session.loss([1] * n)
        session.backward([1] * n)
        name = next(iter(self.model.tensors))
        self.assertTrue(any(bytes(session.gradient(name))))
        session.zero_gradients()
        self.assertFalse(any(bytes(session.gradient(name))))
        self.assertGreater(loss, 0)
        session.select_logits([0, n - 1])
        session.forward(self.tokens())
        self.assertEqual(session.logits().shape[0], 2)

    def test_threads_at_once(self):
        """Two contexts in two threads, one model: the calls do not wait for one another's GIL, nor disturb it."""
        results, barrier = [], threading.Barrier(2)

        def work():
            with open_context() as context, sn.Session(context, self.model) as session:
                barrier.wait()
                for _ in range(20):
                    session.forward(tokens)
                results.append(bytes(session.logits()))

        tokens = self.tokens()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        self.assertEqual(results, [read("c.logits")] * 2)

    def test_other_threads_run_during_a_call(self):
        """A thread that counts gets on while a call is running, and a second call in the same context waits."""
        during, session = [], self.session()

        def wait_in(stage, done, total, value):
            if not during:
                thread = threading.Thread(target=lambda: during.append(bytes(session.logits())))
                thread.start()
                thread.join(0.05)
                during.append(thread)

        self.context.progress = wait_in
        corpus = self.ready()[0]
        during[0].join()
        self.assertEqual(during[1], read("c.logits"))
        del corpus, during[0]


class Failures(Case):
    def test_each_status_is_a_class(self):
        for status, one in sn._errors.items():
            self.assertTrue(issubclass(one, sn.Error))
            self.assertEqual(one.status, status)
        self.assertEqual(sorted(sn._errors), list(range(1, 11)))

    def test_messages(self):
        with self.assertRaisesRegex(sn.FileError, "/nonexistent"):
            sn.Model.load(self.context, "/nonexistent")
        with self.assertRaises(OSError):
            sn.Model.load(self.context, "/nonexistent")
        with self.assertRaisesRegex(sn.FormatError, "n_layer"):
            sn.Model(self.context, {"n_layer": "many"})
        with self.assertRaisesRegex(sn.ArgumentError, "temprature"):
            sn.Generator(self.context, self.model, temprature=1)
        with self.assertRaises(sn.StateError):
            sn.Generator(self.context, self.model).next()
        with self.assertRaises(sn.TargetError):
            circuit_of_nothing = self.ready()
            shuffled = sn.Model(self.context, self.model.config, seed=9)
            means = sn.Means(self.context, shuffled, circuit_of_nothing[0], tokens=512)
            sn.Circuit.extract(self.context, shuffled, means, circuit_of_nothing[2], steps=1)

    def test_shapes_and_types(self):
        session = self.session()
        bad = [
            ([0.5, 1.0], TypeError),
            ([[[1]]], ValueError),
            ([1, 10**12], (ValueError, OverflowError)),
            ([1, -1], sn.ArgumentError),
            ([[]], (ValueError, sn.ArgumentError)),
            ("text", (TypeError, ValueError)),
        ]
        for tokens, error in bad:
            with self.assertRaises(error if numpy is not None else (Exception)):
                session.forward(tokens)
        for offsets in ([0, 1], [0, 4, 2, 3], [], [-1, 3]):
            with self.assertRaises((ValueError, sn.ArgumentError)):
                session.forward([1, 2, 3], offsets=offsets)
        session.forward(self.tokens())
        with self.assertRaisesRegex(ValueError, "rows of logits"):
            session.loss([1])
        with self.assertRaises(sn.StateError):
            session.activations("0.mlp.post_act")
        with self.assertRaises(TypeError):
            sn.Generator(self.context, self.model, seed=None)
        with self.assertRaises(ValueError):
            sn.Generator(self.context, self.model, seed=2**53 + 1)
        with self.assertRaises(ValueError):
            sn.Model.load(self.context, "a\0b")
        self.assertEqual(bytes(session.logits()), read("c.logits"))

    @unittest.skipIf(numpy is None, "numpy alone")
    def test_one_dimension(self):
        """Of two, the first alone would be counted."""
        table, number = numpy.array([[1, 2, 3], [4, 5, 6]], dtype=numpy.int32), numpy.int32(1)
        corpus, task = sn.Corpus(self.context), sn.Task(self.context, "t")
        session, generator = self.session(), sn.Generator(self.context, self.model)
        site = "0.mlp.post_act"
        for wrong in (table, number):
            for call in (
                lambda: self.tokenizer.decode(wrong),
                lambda: corpus.add_tokens(wrong),
                lambda: generator.append(wrong),
                lambda: task.add_pair(wrong, [1], 3, 4),
                lambda: task.add_pair([1], wrong, 3, 4),
                lambda: session.select_logits(wrong),
                lambda: session.intervene(site, sn.SET, [0.0] * 6, channels=wrong),
                lambda: session.intervene(site, sn.SCALE, [1.0], tokens=wrong),
                lambda: session.loss(wrong),
            ):
                with self.assertRaisesRegex(ValueError, "one dimension|rows of logits"):
                    call()
        with self.assertRaisesRegex(ValueError, "one dimension"):
            session.forward([table, table[:1]])
        self.assertEqual((len(corpus), len(task), len(generator)), (0, 0, 0))
        self.assertEqual(bytes(session.logits()), read("c.logits"))

    def test_cancel(self):
        self.context.progress = lambda stage, done, total, value: stage == "means"
        with self.assertRaisesRegex(sn.Cancelled, "means"):
            self.ready()
        self.context.progress = None
        self.assertEqual(len(self.ready()[2]), 24)

    def test_an_exception_in_a_callback_is_raised_by_the_call(self):
        def progress(stage, done, total, value):
            if stage == "prune" and done > 3:
                raise KeyError(stage)

        self.context.progress = progress
        corpus, means, task = self.ready()
        with self.assertRaises(KeyError) as caught:
            sn.Circuit.extract(self.context, self.model, means, task, steps=40, k_coef=1e-3)
        self.assertEqual(caught.exception.args, ("prune",))
        del caught
        self.context.progress = lambda *_: sys.exit(3)
        with self.assertRaises(SystemExit):
            sn.Means(self.context, self.model, corpus, tokens=512)
        self.context.progress = None
        self.assertEqual(bytes(self.session().logits()), read("c.logits"))

    def test_ctrl_c(self):
        """It comes from outside while C is at work, with a progress callback or without, or inside one."""
        # a shell starts what runs in the background with the signal ignored
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        trainer = sn.Trainer(self.context, self.model, steps=10**6, batch=2, density=0.5)
        trainer.add_task(self.ready()[2])
        inside = lambda *_: signal.raise_signal(signal.SIGINT)
        for progress in (None, lambda *_: 0, inside):
            self.context.progress = progress
            with self.assertRaises(KeyboardInterrupt):
                if progress is not inside:
                    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
                trainer.run()
            self.context.progress = None
            self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.assertLess(trainer.statistic("step"), 10**6)
        self.assertEqual(bytes(self.session().logits()), read("c.logits"))

    def test_no_calls_from_a_callback(self):
        said = []

        def progress(*_):
            try:
                self.model.save(path("never"))
            except sn.StateError as error:
                said.append(str(error))

        self.context.progress = progress
        self.ready()
        self.assertIn("callback", said[0])
        self.assertFalse(os.path.exists(path("never")))
        self.context.progress = None

    def test_documents_by_iterator(self):
        corpus = sn.Corpus(self.context)
        corpus.add_documents(["one", b"tw\0o", "dr\N{LATIN SMALL LETTER E WITH ACUTE}i"])
        self.assertEqual([corpus.text(i) for i in range(3)], [b"one", b"tw\0o", "dréi".encode()])

        def broken():
            yield "four"
            raise LookupError("no more")

        with self.assertRaisesRegex(LookupError, "no more"):
            corpus.add_documents(broken())
        with self.assertRaises(TypeError):
            corpus.add_documents(["five", None])

    def test_closed(self):
        session = self.session()
        with session:
            pass
        with self.assertRaisesRegex(ValueError, "Session is closed"):
            session.logits()
        session.close()
        with self.assertRaises(ValueError):
            sn.Means(self.context, session, None)


class Lifetimes(Case):
    def test_any_order(self):
        session, generator = self.session(gradients="support"), sn.Generator(self.context, self.model)
        name, (rows, cols, *_) = next(one for one in self.model.tensors.items() if one[1][1])
        width, n = self.model.config["d_model"], sum(map(len, self.tokens()))
        session.backward([1] * n)
        self.model.close()
        self.assertEqual(bytes(session.logits()), read("c.logits"))
        self.assertEqual(session.gradient(name).shape, (rows, cols))
        self.assertEqual(session.residual().shape, (n, width))
        self.context.close()
        with self.assertRaisesRegex(ValueError, "Context is closed"):
            session.logits()
        generator.close()
        session.close()

    def test_cycles(self):
        """Garbage that refers to itself is freed in whatever order the collector finds it."""
        for _ in range(20):
            context = open_context()
            model, tokenizer = load(context)
            ring = [context, model, tokenizer, sn.Session(context, model), sn.Generator(context, model)]
            ring.append(ring)
            context.progress = lambda *_: ring
            del context, model, tokenizer, ring
        gc.collect()

    def test_threads_free_what_another_uses(self):
        session, stop = self.session(), threading.Event()

        def make_and_drop():
            while not stop.is_set():
                sn.Session(self.context, self.model)

        thread = threading.Thread(target=make_and_drop)
        thread.start()
        for _ in range(100):
            session.forward(self.tokens())
        stop.set()
        thread.join()
        self.assertEqual(bytes(session.logits()), read("c.logits"))

    @unittest.skipIf(numpy is None, "without numpy what is lent is copied")
    def test_views_keep_their_owner(self):
        corpus, means, task = self.ready()
        view, tokens, prompt = means.site("0.mlp.post_act"), corpus.tokens(0), task[0][0]
        copies = view.copy(), tokens.copy(), prompt.copy()
        held = self.context.memory()[0]
        self.assertFalse(view.flags.writeable)
        with self.assertRaises(BufferError):
            corpus.add_idioms(100)
        part = tokens[2:]
        for one in (means, corpus, task):
            one.close()
        del means, corpus, task
        gc.collect()
        self.assertEqual(self.context.memory()[0], held)
        for one, copy in zip((view, tokens, prompt), copies):
            self.assertTrue((one == copy).all())
        del tokens, one
        self.assertTrue((part == copies[1][2:]).all())
        del view, prompt, part
        self.assertLess(self.context.memory()[0], held)

    @unittest.skipIf(numpy is None, "numpy alone")
    def test_no_copies(self):
        tokens = numpy.array([[1, 2, 3], [4, 5, 6]], dtype=numpy.int32)
        self.assertIs(sn._given_array(tokens, "i", "tokens")[0].base, tokens)
        session = self.session()
        session.forward(tokens)
        out = numpy.empty((6, self.model.config["vocab_size"]), dtype=numpy.float32)
        self.assertIs(session.logits(out=out), out)
        self.assertEqual(out.tobytes(), session.logits().tobytes())
        for wrong in (out[:5], out.astype(float), out.T, list(out)):
            with self.assertRaises((ValueError, TypeError)):
                session.logits(out=wrong)
        # what was handed out is its own
        logits = session.logits()
        session.close()
        self.assertEqual(out.tobytes(), logits.tobytes())


if __name__ == "__main__":
    unittest.main()
