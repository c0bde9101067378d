"""libsparsenet from Python, in one file: ctypes, and numpy where it is there.

    import sparsenet as sn
    with sn.Context(threads=2) as context:
        model = sn.Model.load(context, "model.safetensors")
        session = sn.Session(context, model)
        session.forward([[1, 2, 3], [4, 5]])        # two sequences, or a 2-D array of int32
        logits = session.logits()                   # 5 x vocab_size, float32

The library is $SPARSENET_LIBRARY, or libsparsenet.so.0 wherever the system finds it. What holds for every
binding stands in docs/ffi.md; here it means:

  * Every failure is an exception, a class for each status (ArgumentError, FormatError, Cancelled, ...: all are
    Error), with the library's message.
  * Objects close themselves when nothing refers to them any more, at the end of a `with`, or by close(). Whatever
    still needs a closed object (a view of its memory, a session of a context) keeps it until it is done.
  * Arrays go in without a copy where they are C-contiguous and of the right type, and are written by the library
    into the array that is returned, or into `out`. What the library lends (means, evidence, tokens of a corpus) is a
    read-only view that keeps its owner alive; an owner with views refuses to change (BufferError). Without numpy,
    arrays are memoryviews, and what is lent is copied.
  * Context.progress is called during long work; what it returns true for, or raises, ends the work (Cancelled, or the
    exception itself). Ctrl-C works the same way.
  * Options are keyword arguments. sparsenet.h lists them for each function.
  * Calls release the GIL. A context runs one call at a time, others wait; give each thread a context of its own.
"""
import array as _array
import contextlib
import ctypes
import json
import numbers
import os
import re
import signal
import threading
import weakref
from ctypes import (
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)

try:
    import numpy
except ImportError:
    numpy = None

# ---------------------------------------------------------------- declarations

# As they stand in sparsenet.h (tests/ffi/prototypes.py compares them).
_PROTOTYPES = """
const char *sn_version_string(void);
const char *sn_status_string(int status);
int sn_context_create(sn_context **out, const sn_allocator *allocator);
void sn_context_free(sn_context *context);
const char *sn_context_message(const sn_context *context);
const char *sn_context_isa(const sn_context *context);
int sn_context_set_threads(sn_context *context, size_t n_threads);
void sn_context_set_progress(sn_context *context, sn_progress_callback callback, void *payload);
void sn_context_memory(size_t *current, size_t *peak, const sn_context *context);
int sn_options_create(sn_options **out, sn_context *context);
void sn_options_free(sn_options *options);
int sn_options_set(sn_options *options, sn_context *context, const char *key, double value);
int sn_options_set_text(sn_options *options, sn_context *context, const char *key, const char *value);
int sn_tokenizer_load(sn_tokenizer **out, sn_context *context, const char *path);
int sn_tokenizer_train(sn_tokenizer **out, sn_context *context, const sn_corpus *corpus, size_t
    vocabulary_size, const sn_options *options);
int sn_tokenizer_save(const sn_tokenizer *tokenizer, sn_context *context, const char *directory);
void sn_tokenizer_free(sn_tokenizer *tokenizer);
size_t sn_tokenizer_size(const sn_tokenizer *tokenizer);
const char *sn_tokenizer_token(size_t *length, const sn_tokenizer *tokenizer, int32_t token);
int32_t sn_tokenizer_find(const sn_tokenizer *tokenizer, const char *text, size_t length);
int sn_tokenizer_encode(int32_t *tokens, size_t capacity, size_t *needed, sn_context *context, const
    sn_tokenizer *tokenizer, const char *text, size_t length);
int sn_tokenizer_decode(char *text, size_t capacity, size_t *needed, sn_context *context, const
    sn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens);
int sn_corpus_create(sn_corpus **out, sn_context *context);
void sn_corpus_free(sn_corpus *corpus);
int sn_corpus_add_text(sn_corpus *corpus, sn_context *context, const char *text, size_t length);
int sn_corpus_add_tokens(sn_corpus *corpus, sn_context *context, const int32_t *tokens, size_t n_tokens);
int sn_corpus_add_directory(sn_corpus *corpus, sn_context *context, const char *directory, const char
    *suffix, size_t max_file_bytes, size_t max_total_bytes);
int sn_corpus_add_documents(sn_corpus *corpus, sn_context *context, sn_document_callback callback, void
    *payload);
size_t sn_corpus_count(const sn_corpus *corpus);
const char *sn_corpus_text(size_t *length, const sn_corpus *corpus, size_t index);
const int32_t *sn_corpus_tokens(size_t *n_tokens, const sn_corpus *corpus, size_t index);
size_t sn_corpus_token_count(const sn_corpus *corpus);
int sn_corpus_split(sn_corpus **validation, sn_corpus *corpus, sn_context *context, double share,
    uint64_t seed);
int sn_corpus_tokenize(sn_corpus *corpus, sn_context *context, const sn_tokenizer *tokenizer);
int sn_python_add_idioms(sn_corpus *corpus, sn_context *context, size_t n_bytes, const sn_options
    *options);
const char *sn_python_required_tokens(void);
size_t sn_python_task_count(void);
const char *sn_python_task_name(size_t index);
int sn_python_task(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char *name,
    size_t n_pairs, const sn_options *options);
int sn_model_create(sn_model **out, sn_context *context, const char *config_json, size_t length, uint64_t
    seed);
int sn_model_load(sn_model **out, sn_context *context, const char *path);
int sn_model_estimate_memory(size_t *held, size_t *peak, sn_context *context, const char *path, double
    density);
int sn_model_save(const sn_model *model, sn_context *context, const char *path);
int sn_model_export(const sn_model *model, sn_context *context, const char *directory);
sn_model *sn_model_retain(sn_model *model);
void sn_model_free(sn_model *model);
const char *sn_model_config_json(const sn_model *model);
size_t sn_model_tensor_count(const sn_model *model);
const char *sn_model_tensor_name(const sn_model *model, size_t index);
int sn_model_tensor_info(size_t *rows, size_t *cols, size_t *support, int *is_sparse, const sn_model
    *model, size_t index);
int sn_model_tensor(float *values, size_t capacity, size_t *needed, sn_context *context, const sn_model
    *model, const char *name);
size_t sn_model_site_count(const sn_model *model);
const char *sn_model_site_name(const sn_model *model, size_t index);
size_t sn_model_site_width(const sn_model *model, const char *site);
int sn_session_create(sn_session **out, sn_context *context, sn_model *model, const sn_options *options);
void sn_session_free(sn_session *session);
int sn_session_forward(sn_session *session, const int32_t *tokens, const size_t *offsets, size_t
    n_sequences);
int sn_session_logits(float *logits, size_t capacity, size_t *needed, sn_session *session);
int sn_session_loss(double *loss, sn_session *session, const int32_t *targets);
int sn_session_select_logits(sn_session *session, const size_t *positions, size_t n_positions);
int sn_session_record(sn_session *session, const char *site);
int sn_session_activations(float *values, size_t capacity, size_t *needed, sn_session *session, const
    char *site);
int sn_session_site_gradient(float *values, size_t capacity, size_t *needed, sn_session *session, const
    char *site);
int sn_session_intervene(sn_session *session, const char *site, int action, const size_t *channels,
    size_t n_channels, const float *values, size_t n_values, const unsigned char *token_mask, size_t
    n_tokens);
int sn_session_clear_interventions(sn_session *session);
int sn_session_residual(float *values, size_t capacity, size_t *needed, sn_session *session);
int sn_session_backward(sn_session *session, const int32_t *targets);
int sn_session_zero_gradients(sn_session *session);
int sn_session_gradient(float *values, size_t capacity, size_t *needed, sn_session *session, const char
    *tensor);
int sn_generator_create(sn_generator **out, sn_context *context, sn_model *model, const sn_options
    *options);
void sn_generator_free(sn_generator *generator);
int sn_generator_append(sn_generator *generator, const int32_t *tokens, size_t n_tokens);
int sn_generator_next(int32_t *token, sn_generator *generator);
int sn_generator_logits(float *logits, size_t capacity, size_t *needed, sn_generator *generator);
size_t sn_generator_count(const sn_generator *generator);
int sn_generator_reset(sn_generator *generator);
int sn_trainer_create(sn_trainer **out, sn_context *context, const sn_model *model, const sn_options
    *options);
int sn_trainer_load(sn_trainer **out, sn_context *context, const char *path);
void sn_trainer_free(sn_trainer *trainer);
int sn_trainer_add_corpus(sn_trainer *trainer, const sn_corpus *corpus, double share, size_t window);
int sn_trainer_add_task(sn_trainer *trainer, const sn_task *task, double share);
int sn_trainer_step(double *loss, sn_trainer *trainer);
int sn_trainer_run(sn_trainer *trainer, size_t n_steps);
int sn_trainer_validate(double *loss, sn_trainer *trainer, const sn_corpus *corpus, size_t n_windows);
int sn_trainer_snapshot(sn_model **out, sn_trainer *trainer);
int sn_trainer_statistic(double *value, sn_trainer *trainer, const char *name);
int sn_trainer_set_checkpoint(sn_trainer *trainer, const char *path);
int sn_trainer_save(sn_trainer *trainer, const char *path);
int sn_task_create(sn_task **out, sn_context *context, const char *name);
void sn_task_free(sn_task *task);
const char *sn_task_name(const sn_task *task);
int sn_task_add_pair(sn_task *task, sn_context *context, const int32_t *prompt_a, size_t n_a, const
    int32_t *prompt_b, size_t n_b, int32_t target_a, int32_t target_b);
int sn_task_add_text_pair(sn_task *task, sn_context *context, const sn_tokenizer *tokenizer, const char
    *prompt_a, const char *prompt_b, const char *target_a, const char *target_b);
int sn_task_load_jsonl(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char
    *path);
int sn_task_save_jsonl(const sn_task *task, sn_context *context, const sn_tokenizer *tokenizer, const
    char *path);
size_t sn_task_count(const sn_task *task);
int sn_task_pair(const int32_t **prompt_a, size_t *n_a, const int32_t **prompt_b, size_t *n_b, int32_t
    *target_a, int32_t *target_b, const sn_task *task, size_t index);
int sn_means_create(sn_means **out, sn_context *context, sn_model *model, const sn_corpus *corpus, const
    sn_options *options);
void sn_means_free(sn_means *means);
const float *sn_means_site(size_t *width, const sn_means *means, const char *site);
int sn_evaluate(sn_evaluation *result, sn_context *context, sn_model *model, const sn_means *means, const
    sn_circuit *circuit, int ablate, const sn_task *fit, const sn_task *task);
int sn_circuit_extract(sn_circuit **out, sn_context *context, sn_model *model, const sn_means *means,
    const sn_task *task, const sn_task *develop, const sn_options *options);
int sn_circuit_create(sn_circuit **out, sn_context *context, sn_model *model, const char *task);
int sn_circuit_create_random(sn_circuit **out, sn_context *context, const sn_circuit *like, uint64_t
    seed);
int sn_circuit_load(sn_circuit **out, sn_context *context, sn_model *model, const char *path);
int sn_circuit_combine(sn_circuit **out, sn_context *context, const sn_circuit *a, const sn_circuit *b,
    int operation);
int sn_circuit_fold(sn_model **out, sn_context *context, const sn_circuit *circuit, const sn_means
    *means, const sn_options *options);
int sn_circuit_text_loss(double *loss, sn_context *context, sn_model *model, const sn_means *means, const
    sn_circuit *circuit, int ablate, const sn_corpus *corpus, const sn_options *options);
void sn_circuit_free(sn_circuit *circuit);
const char *sn_circuit_task(const sn_circuit *circuit);
sn_model *sn_circuit_model(const sn_circuit *circuit);
int sn_circuit_add_node(sn_circuit *circuit, sn_context *context, const char *node);
int sn_circuit_remove_node(sn_circuit *circuit, sn_context *context, const char *node);
size_t sn_circuit_node_count(const sn_circuit *circuit);
const char *sn_circuit_node_name(const sn_circuit *circuit, size_t index);
size_t sn_circuit_edge_count(const sn_circuit *circuit);
size_t sn_circuit_touching_edge_count(const sn_circuit *circuit);
int sn_circuit_edge(size_t *from, size_t *to, float *weight, const sn_circuit *circuit, size_t index);
int sn_circuit_measure_deltas(sn_circuit *circuit, sn_context *context, const sn_means *means, const
    sn_task *fit, const sn_task *task);
int sn_circuit_node_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index);
int sn_circuit_edge_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index);
int sn_circuit_trace(sn_circuit *circuit, sn_context *context, const sn_means *means, const sn_tokenizer
    *tokenizer, const sn_task *task, const sn_options *options);
size_t sn_circuit_path_count(const sn_circuit *circuit);
const char *sn_circuit_path(double *weight, double *contribution, const sn_circuit *circuit, size_t
    index);
int sn_circuit_set_measurement(sn_circuit *circuit, sn_context *context, const char *name, double value);
size_t sn_circuit_measurement_count(const sn_circuit *circuit);
const char *sn_circuit_measurement(double *value, const sn_circuit *circuit, size_t index);
int sn_circuit_set_label(sn_circuit *circuit, sn_context *context, const char *node, int kind, const char
    *text);
const char *sn_circuit_label(const sn_circuit *circuit, size_t index, int kind);
int sn_report_write_json(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_dot(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_graphml(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_svg(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs, const
    char *path);
int sn_report_send(sn_context *context, const sn_circuit *circuit, int form, const sn_page *inputs,
    sn_text_callback callback, void *payload);
int sn_evidence_create_circuit(sn_evidence **out, sn_context *context, const sn_circuit *circuit, const
    sn_corpus *corpus, const sn_options *options);
void sn_evidence_free(sn_evidence *evidence);
size_t sn_evidence_count(const sn_evidence *evidence);
const char *sn_evidence_node(const sn_evidence *evidence, size_t index);
int sn_evidence_summarize(sn_evidence_summary *result, const sn_evidence *evidence, size_t index);
int sn_evidence_histogram(const double **edges, const uint64_t **counts, size_t *n_bins, const
    sn_evidence *evidence, size_t index);
"""

_NUMBERS = {
    "int": c_int,
    "int32_t": c_int32,
    "int64_t": c_int64,
    "uint64_t": c_uint64,
    "size_t": c_size_t,
    "double": c_double,
    "float": c_float,
    "void": None,
}


def _type_of(declared):
    """The ctypes type of a parameter or result: numbers, NUL-terminated text, and a pointer for all the rest."""
    if declared.startswith("const char *") and declared.count("*") == 1:
        return c_char_p
    return c_void_p if "*" in declared or "callback" in declared else _NUMBERS[declared.split()[0]]


def _open_library():
    library = ctypes.CDLL(os.environ.get("SPARSENET_LIBRARY") or "libsparsenet.so.0")
    for result, name, parameters in re.findall(
        r"(\w.*?)(sn_\w+)\((.*?)\);", re.sub(r"\s+", " ", _PROTOTYPES)
    ):
        function = getattr(library, name)
        function.argtypes = [_type_of(one) for one in parameters.split(", ") if one != "void"]
        # A lent text with a length may hold NULs: as a pointer.
        function.restype = c_void_p if "size_t *length" in parameters else _type_of(result)
    return library


_library = _open_library()
_progress_type = ctypes.CFUNCTYPE(c_int, c_char_p, c_size_t, c_size_t, c_double, c_void_p)
_document_type = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(c_char_p), ctypes.POINTER(c_size_t), c_void_p)
_text_type = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, c_void_p)
version = _library.sn_version_string().decode()

# ------------------------------------------------------------------ exceptions


class Error(Exception):
    """A call failed. status: the library's code (SN_ERROR_* in sparsenet.h)."""

    status = None


class ArgumentError(Error, ValueError):
    """An argument is out of range or contradicts another."""

    status = 1


class OutOfMemory(Error, MemoryError):
    """An allocation failed."""

    status = 2


class FileError(Error, OSError):
    """The operating system refused to read or write."""

    status = 3


class FormatError(Error, ValueError):
    """A file or text is malformed, or its tensors do not fit."""

    status = 4


class Unsupported(Error, NotImplementedError):
    """Well-formed, but not something this build or machine can do."""

    status = 5


class NumericError(Error, ArithmeticError):
    """A NaN or an infinity turned up."""

    status = 6


class Cancelled(Error):
    """The progress callback asked to stop."""

    status = 7


class StateError(Error, RuntimeError):
    """The call comes too early or too late for this object."""

    status = 8


class CapacityError(Error):
    """An array is too small."""

    status = 9


class TargetError(Error):
    """The model cannot do the task, or no circuit reaches the target loss."""

    status = 10


_errors = {one.status: one for one in Error.__subclasses__()}

# --------------------------------------------------------- objects and contexts


class _Handle:
    """One object of the library, freed when nothing refers to this any more: at the latest when Python ends. The
    library lets objects go in any order and on any thread. kept: what the object reads as long as it lives.
    """

    def __init__(self, free, pointer, *kept):
        self.pointer, self.leases, self.kept = pointer, weakref.WeakSet(), list(kept)
        self.finalizer = weakref.finalize(self, _Handle._end, free, pointer, self.kept)

    @staticmethod
    def _end(free, pointer, kept):
        free(pointer)


class _Lease:
    """That a view of a handle's memory is in use."""

    def __init__(self, handle):
        self.handle = handle
        handle.leases.add(self)


class _Object:
    """Base of all classes: a handle, and the context in which its calls run."""

    _kind = None

    def _hold(self, context, pointer):
        self.context = context
        self._handle_or_none = _Handle(getattr(_library, f"sn_{self._kind}_free"), pointer)

    def _open(self, context, function, *arguments, options=None):
        """By a function that begins with `out`. options: a dict where the function takes options."""
        pointer = c_void_p()
        try:
            if options is None:
                context._run(function, byref(pointer), *arguments)
            else:
                with _given(context, options) as given:
                    context._run(function, byref(pointer), *arguments, given)
        finally:
            # Even where Ctrl-C came too late to stop the call.
            if pointer:
                self._hold(context, pointer.value)

    @classmethod
    def _make(cls, context, function, *arguments, options=None):
        self = cls.__new__(cls)
        self._open(context, function, *arguments, options=options)
        return self

    @classmethod
    def _take(cls, context, pointer):
        self = cls.__new__(cls)
        self._hold(context, pointer)
        return self

    @property
    def _handle(self):
        if self._handle_or_none is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle_or_none

    def _changing(self):
        if self._handle.leases:
            raise BufferError(
                f"this {type(self).__name__} has views of its memory; it cannot change before they go"
            )
        return self

    def _call(self, function, *arguments):
        self.context._run(function, *arguments)

    def close(self):
        """Lets go of the object; it is freed at once, or with the last that needs it."""
        self._handle_or_none = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Context(_Object):
    """Errors, threads, memory and kernels. progress: None or progress(stage, done, total, value), see above.
    allocator: the sn_allocator of a host that embeds Python, as a ctypes object."""

    context = property(lambda self: self)

    def __init__(self, threads=1, progress=None, allocator=None):
        self.progress = progress
        self._lock, self._running, self._raised = threading.Lock(), None, None
        self._in_callback = False
        pointer = c_void_p()
        status = _library.sn_context_create(byref(pointer), allocator and byref(allocator))
        if status:
            raise _errors[status](_library.sn_status_string(status).decode())
        itself = weakref.ref(self)
        self._callback = _progress_type(lambda *arguments: itself()._report(*arguments))
        self._handle_or_none = _Handle(_library.sn_context_free, pointer.value, self._callback)
        _library.sn_context_set_progress(pointer, self._callback, None)
        self.set_threads(threads)

    def _report(self, stage, done, total, value, _):
        return self._guarded(
            lambda: bool(self.progress and self.progress(stage.decode(), done, total, value))
        )

    def _guarded(self, work):
        """Nothing may be raised through C: an exception stops the call and is raised when it has returned."""
        try:
            self._in_callback = True
            result = int(work())
        except BaseException as error:
            self._raised = error
        finally:
            self._in_callback = False
        return result if self._raised is None else 1

    def _interrupted(self, *_):
        """Ctrl-C. Python would raise it at the first step of a callback, where nothing catches it: so it waits until
        the callback itself is running, or has returned."""
        if self._in_callback:
            raise KeyboardInterrupt
        self._raised = KeyboardInterrupt()

    @contextlib.contextmanager
    def _entered(self):
        """The state of one call; yields nothing, raises what its callbacks did."""
        with self._lock:
            in_main = threading.current_thread() is threading.main_thread()
            noting = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            self._running, self._raised = threading.get_ident(), None
            if noting:
                signal.signal(signal.SIGINT, self._interrupted)
            try:
                yield
            finally:
                if noting:
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                self._running, raised, self._raised = None, self._raised, None
        if raised is not None:
            raise raised

    def _run(self, function, *arguments):
        """Calls sn_<function> and raises what it says; the handles of all arguments live until it has returned."""
        own = self._handle
        handles = [one._handle if isinstance(one, _Object) else one for one in arguments]
        pointers = [one.pointer if isinstance(one, _Handle) else one for one in handles]
        if self._running == threading.get_ident():
            raise StateError(f"sn_{function}: called from a callback of its own context")
        with self._entered():
            status = getattr(_library, f"sn_{function}")(*pointers)
            message = _library.sn_context_message(own.pointer) if status else b""
        if status:
            raise _errors.get(status, Error)(message.decode(errors="replace"))

    @property
    def isa(self):
        """The kernels in use: "portable", "avx2" or "avx512"."""
        return _library.sn_context_isa(self._handle.pointer).decode()

    def set_threads(self, n):
        self._run("context_set_threads", self, _count(n))

    def memory(self):
        """Bytes now held and the most ever held, by this context and all that was made with it."""
        current, peak = c_size_t(), c_size_t()
        _library.sn_context_memory(byref(current), byref(peak), self._handle.pointer)
        return current.value, peak.value


@contextlib.contextmanager
def _given(context, options):
    """Keyword arguments as sn_options, None for none."""
    if not options:
        yield None
        return
    pointer = c_void_p()
    context._run("options_create", byref(pointer), context)
    try:
        for key, value in options.items():
            if isinstance(value, (str, bytes)):
                context._run("options_set_text", pointer, context, _text(key), _text(value))
            elif isinstance(value, numbers.Real):
                if isinstance(value, numbers.Integral) and int(float(value)) != value:
                    raise ValueError(f"{key} is {value}: whole numbers go up to 2**53")
                context._run("options_set", pointer, context, _text(key), float(value))
            elif isinstance(value, (list, tuple)):
                context._run(
                    "options_set_text", pointer, context, _text(key), _text(",".join(map(str, value)))
                )
            else:
                raise TypeError(f"{key} is a {type(value).__name__}; options are numbers and texts")
        yield pointer
    finally:
        _library.sn_options_free(pointer)


# ------------------------------------------------------------ texts and arrays


def _text(value):
    """UTF-8 for a parameter that ends at a NUL."""
    text = value if isinstance(value, bytes) else value.encode()
    if b"\0" in text:
        raise ValueError("embedded null byte")
    return text


def _path(value):
    return _text(os.fsencode(value))


def _count(value):
    if not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return int(value)


def _index(i, n):
    i = int(i)
    if not -n <= i < n:
        raise IndexError(i)
    return i % n


# numpy's names for the codes of `array`; L is size_t.
_NAMES = {"i": "int32", "f": "float32", "d": "float64", "L": "uintp", "Q": "uint64", "B": "uint8"}


def _given_array(values, code, what):
    """(an object to keep, the address, the shape) of `values` as a C array: their own memory where it fits."""
    if numpy is None:
        if not (isinstance(values, _array.array) and values.typecode == code):
            values = _array.array(code, values)
        return values, values.buffer_info()[0], (len(values),)
    given = numpy.asarray(values)
    wanted = numpy.dtype(_NAMES[code])
    allowed = "fiu" if code in "fd" else "b" if given.dtype == bool and code == "B" else "iu"
    if given.size and given.dtype.kind not in allowed:
        raise TypeError(f"{what} must be {wanted}, not {given.dtype}")
    if given.dtype != wanted and wanted.kind in "iu" and given.size:
        limits = numpy.iinfo(wanted)
        if given.min() < limits.min or given.max() > limits.max:
            raise ValueError(f"{what} has a value outside {wanted}")
    made = numpy.ascontiguousarray(given, dtype=wanted).reshape(given.shape)
    return made, made.ctypes.data, made.shape


def _given_row(values, code, what):
    """(an object to keep, the address, the count) of what has one dimension."""
    keep, address, shape = _given_array(values, code, what)
    if len(shape) != 1:
        raise ValueError(f"{what} have one dimension, not {len(shape)}")
    return keep, address, shape[0]


def _new_array(code, shape):
    """(array, address) for the library to write to."""
    size = 1
    for n in shape:
        size *= n
    if numpy is not None:
        made = numpy.empty(shape, dtype=_NAMES[code])
        return made, made.ctypes.data
    memory = _array.array(code, bytes(size * _array.array(code).itemsize))
    view = memoryview(memory)
    if len(shape) > 1 and size:
        view = view.cast("B").cast(code, shape)
    return view, memory.buffer_info()[0]


def _out_array(out, code, shape):
    if out is None:
        return _new_array(code, shape)
    if numpy is None or not isinstance(out, numpy.ndarray):
        raise TypeError("out must be a numpy array")
    if (
        out.dtype != _NAMES[code]
        or not out.flags.c_contiguous
        or not out.flags.writeable
        or out.shape != shape
    ):
        raise ValueError(f"out must be a writable C-contiguous array of {_NAMES[code]}, {shape}")
    return out, out.ctypes.data


def _fetch(context, function, code, *arguments, width=None, out=None):
    """An array by pointer, capacity and needed; rows of `width` where that is given."""
    needed = c_size_t()
    context._run(function, None, 0, byref(needed), *arguments)
    n = needed.value
    array, address = _out_array(out, code, (n // width, width) if width else (n,))
    context._run(function, address, n, byref(needed), *arguments)
    return array


def _lend(handle, address, code, n):
    """A read-only view of n numbers that the library lends."""
    n_bytes = n * _array.array(code).itemsize
    if numpy is None:
        return memoryview(
            _array.array(code, ctypes.string_at(address, n_bytes) if n else b"")
        ).toreadonly()
    if not n:
        return numpy.empty(0, dtype=_NAMES[code])
    memory = (ctypes.c_ubyte * n_bytes).from_address(address)
    memory.lease = _Lease(handle)
    view = numpy.frombuffer(memory, dtype=_NAMES[code])
    view.flags.writeable = False
    return view


# --------------------------------------------------------- tokenizers, corpora


class Tokenizer(_Object):
    _kind = "tokenizer"

    def __init__(self, context, path):
        self._open(context, "tokenizer_load", context, _path(path))

    @classmethod
    def train(cls, context, corpus, vocabulary_size, **options):
        return cls._make(
            context, "tokenizer_train", context, corpus, _count(vocabulary_size), options=options
        )

    def save(self, directory):
        self._call("tokenizer_save", self, self.context, _path(directory))

    def __len__(self):
        return _library.sn_tokenizer_size(self._handle.pointer)

    def encode(self, text):
        """Tokens of a str or bytes, as int32."""
        text = text.encode() if isinstance(text, str) else bytes(text)
        return _fetch(self.context, "tokenizer_encode", "i", self.context, self, text, len(text))

    def decode(self, tokens):
        """The bytes of tokens: .decode() them where they end at a character."""
        keep, address, n = _given_row(tokens, "i", "tokens")
        text = _fetch(self.context, "tokenizer_decode", "B", self.context, self, address, n)
        return bytes(text)

    def token(self, token):
        """The bytes of one token."""
        length = c_size_t()
        text = _library.sn_tokenizer_token(byref(length), self._handle.pointer, token)
        if not text:
            raise IndexError(token)
        return ctypes.string_at(text, length.value)

    def find(self, text):
        """The token whose bytes are exactly these, or -1."""
        text = text.encode() if isinstance(text, str) else bytes(text)
        return _library.sn_tokenizer_find(self._handle.pointer, text, len(text))


class Corpus(_Object):
    """Documents: of text, or of tokens."""

    _kind = "corpus"

    def __init__(self, context):
        self._open(context, "corpus_create", context)

    def __len__(self):
        return _library.sn_corpus_count(self._handle.pointer)

    def add_text(self, text):
        text = text.encode() if isinstance(text, str) else bytes(text)
        self._call("corpus_add_text", self._changing(), self.context, text, len(text))

    def add_tokens(self, tokens):
        keep, address, n = _given_row(tokens, "i", "tokens")
        self._call("corpus_add_tokens", self._changing(), self.context, address, n)

    def add_documents(self, texts):
        """Adds all texts of an iterable; what it raises is raised here."""
        texts, current = iter(texts), [None]

        def take(text, length, _):
            def work():
                for one in texts:
                    current[0] = one.encode() if isinstance(one, str) else bytes(one)
                    text[0], length[0] = current[0], len(current[0])
                    return 1
                return 0

            more = self.context._guarded(work)
            return -1 if self.context._raised is not None else more

        self._call("corpus_add_documents", self._changing(), self.context, _document_type(take), None)

    def add_directory(self, directory, suffix="", max_file_bytes=0, max_total_bytes=0):
        self._call(
            "corpus_add_directory",
            self._changing(),
            self.context,
            _path(directory),
            _text(suffix),
            _count(max_file_bytes),
            _count(max_total_bytes),
        )

    def add_idioms(self, n_bytes, **options):
        """Adds generated simple Python."""
        self._changing()
        with _given(self.context, options) as given:
            self._call("python_add_idioms", self, self.context, _count(n_bytes), given)

    def tokenize(self, tokenizer):
        self._call("corpus_tokenize", self._changing(), self.context, tokenizer)

    def split(self, share, seed=0):
        """Moves a share of the documents into a new corpus."""
        pointer = c_void_p()
        self._call("corpus_split", byref(pointer), self._changing(), self.context, share, seed)
        return Corpus._take(self.context, pointer.value)

    @property
    def token_count(self):
        return _library.sn_corpus_token_count(self._handle.pointer)

    def text(self, index):
        """The bytes of a document."""
        length = c_size_t()
        text = _library.sn_corpus_text(byref(length), self._handle.pointer, _index(index, len(self)))
        return ctypes.string_at(text, length.value) if text else None

    def tokens(self, index):
        """The tokens of a document, lent; None before tokenize()."""
        n, handle = c_size_t(), self._handle
        address = _library.sn_corpus_tokens(byref(n), handle.pointer, _index(index, len(self)))
        return _lend(handle, address, "i", n.value) if address else None


# -------------------------------------------------------------- models, running


class Model(_Object):
    """Weights. Immutable: any number of contexts may use one at the same time."""

    _kind = "model"

    def __init__(self, context, config, seed=0):
        """Random weights by a configuration, a dict or JSON."""
        text = (config if isinstance(config, str) else json.dumps(config)).encode()
        self._open(context, "model_create", context, text, len(text), seed)

    @classmethod
    def load(cls, context, path):
        return cls._make(context, "model_load", context, _path(path))

    @staticmethod
    def estimate_memory(context, path, density=1):
        """Bytes that loading this path holds afterwards, and at most on the way."""
        held, peak = c_size_t(), c_size_t()
        context._run("model_estimate_memory", byref(held), byref(peak), context, _path(path), density)
        return held.value, peak.value

    def save(self, path):
        self._call("model_save", self, self.context, _path(path))

    def export(self, directory):
        """Writes a dense folder in the released layout."""
        self._call("model_export", self, self.context, _path(directory))

    @property
    def config(self):
        return json.loads(_library.sn_model_config_json(self._handle.pointer))

    @property
    def sites(self):
        """The width of every site by its name, in the order of the forward pass."""
        pointer = self._handle.pointer
        names = [
            _library.sn_model_site_name(pointer, i) for i in range(_library.sn_model_site_count(pointer))
        ]
        return {name.decode(): _library.sn_model_site_width(pointer, name) for name in names}

    @property
    def tensors(self):
        """{name: (rows, cols, support, is_sparse)}; a vector has cols 0."""
        pointer, all_of_them = self._handle.pointer, {}
        for i in range(_library.sn_model_tensor_count(pointer)):
            rows, cols, support, sparse = c_size_t(), c_size_t(), c_size_t(), c_int()
            _library.sn_model_tensor_info(
                byref(rows), byref(cols), byref(support), byref(sparse), pointer, i
            )
            all_of_them[_library.sn_model_tensor_name(pointer, i).decode()] = (
                rows.value,
                cols.value,
                support.value,
                bool(sparse.value),
            )
        return all_of_them

    def tensor(self, name):
        """A dense copy of one tensor."""
        cols = self.tensors.get(name, (0, 0))[1]
        return _fetch(
            self.context, "model_tensor", "f", self.context, self, _text(name), width=cols or None
        )


def _pack(sequences, offsets):
    """Tokens end to end with their offsets, from one sequence, a 2-D array, a list of sequences, or as they are."""
    if offsets is not None:
        keep, address, shape = _given_array(sequences, "i", "tokens")
        bounds = _array.array("L", [_count(int(one)) for one in offsets])
        if len(shape) != 1 or not bounds or bounds[-1] != shape[0] or sorted(bounds) != list(bounds):
            raise ValueError(
                "offsets must ascend from 0 to the number of tokens, which have one dimension"
            )
        return keep, address, bounds
    if not hasattr(sequences, "ndim") and len(sequences) and hasattr(sequences[0], "__len__"):
        lengths = [len(one) for one in sequences]
        if len(set(lengths)) > 1 or numpy is None:
            parts = [_given_row(one, "i", "tokens")[0] for one in sequences]
            if numpy is None:
                sequences = _array.array("i", [token for part in parts for token in part])
            else:
                sequences = numpy.concatenate(parts)
            bounds = _array.array("L", [0])
            for n in lengths:
                bounds.append(bounds[-1] + n)
            return *_given_array(sequences, "i", "tokens")[:2], bounds
    keep, address, shape = _given_array(sequences, "i", "tokens")
    if len(shape) > 2:
        raise ValueError(f"tokens have one or two dimensions, not {len(shape)}")
    rows, length = shape if len(shape) == 2 else (1, shape[0])
    return keep, address, _array.array("L", range(0, rows * length + 1, length) if length else [0, 0])


SET, ADD, SCALE = 0, 1, 2


class Session(_Object):
    """Runs a model on batches: logits, loss, activations at any site, gradients."""

    _kind = "session"

    def __init__(self, context, model, **options):
        self._open(context, "session_create", context, model, options=options)
        # The widths outlive model.close().
        config, self.model = model.config, model
        self._n_vocabulary, self._n_channels = config["vocab_size"], config["d_model"]
        self._sites, self._tensors = model.sites, model.tensors

    def forward(self, sequences, offsets=None):
        """Runs a sequence, a 2-D array, a list of sequences of any lengths, or packed tokens with offsets."""
        keep, address, bounds = _pack(sequences, offsets)
        self._call("session_forward", self, address, bounds.buffer_info()[0], len(bounds) - 1)

    def logits(self, out=None):
        """Tokens x vocabulary of the last forward."""
        return _fetch(self.context, "session_logits", "f", self, width=self._n_vocabulary, out=out)

    def _targets(self, targets):
        keep, address, shape = _given_array(targets, "i", "targets")
        needed = c_size_t()
        self._call("session_logits", None, 0, byref(needed), self)
        if shape != (needed.value // self._n_vocabulary,):
            raise ValueError(
                f"targets are {shape}; there are {needed.value // self._n_vocabulary} rows of logits"
            )
        return keep, address

    def loss(self, targets):
        """Mean cross-entropy, nats; a target for each row of logits, -1 where none counts."""
        keep, address = self._targets(targets)
        loss = c_double()
        self._call("session_loss", byref(loss), self, address)
        return loss.value

    def backward(self, targets):
        """Gradients of that loss, added to those there are. The session needs gradients="support" or "dense"."""
        keep, address = self._targets(targets)
        self._call("session_backward", self, address)

    def zero_gradients(self):
        self._call("session_zero_gradients", self)

    def gradient(self, tensor):
        cols = self._tensors.get(tensor, (0, 0))[1]
        return _fetch(self.context, "session_gradient", "f", self, _text(tensor), width=cols or None)

    def select_logits(self, positions=None):
        """Restricts logits to these tokens of the batch from now on; None: all."""
        if positions is None:
            self._call("session_select_logits", self, None, 0)
            return
        keep, address, n = _given_row(positions, "L", "positions")
        self._call("session_select_logits", self, address, n)

    def record(self, *sites):
        """Keeps the values of these sites in the forwards that follow; record() forgets all."""
        for site in sites or (None,):
            self._call("session_record", self, site and _text(site))

    def activations(self, site, out=None):
        """Tokens x width of a recorded site."""
        return _fetch(
            self.context,
            "session_activations",
            "f",
            self,
            _text(site),
            width=self._sites.get(site),
            out=out,
        )

    def site_gradient(self, site, out=None):
        return _fetch(
            self.context,
            "session_site_gradient",
            "f",
            self,
            _text(site),
            width=self._sites.get(site),
            out=out,
        )

    def residual(self, out=None):
        """Tokens x d_model in front of the final norm."""
        return _fetch(self.context, "session_residual", "f", self, width=self._n_channels, out=out)

    def intervene(self, site, action, values, channels=None, tokens=None):
        """SET, ADD or SCALE at a site: one value per channel, or per token and channel; tokens: a mask."""
        kept, at, shape = _given_array(values, "f", "values")
        n = 1
        for one in shape:
            n *= one
        where, channel_at, n_channels = None, None, 0
        if channels is not None:
            where, channel_at, n_channels = _given_row(channels, "L", "channels")
        mask, mask_at, n_tokens = None, None, 0
        if tokens is not None:
            mask, mask_at, n_tokens = _given_row(tokens, "B", "tokens")
        self._call(
            "session_intervene",
            self,
            _text(site),
            action,
            channel_at,
            n_channels,
            at,
            n,
            mask_at,
            n_tokens,
        )

    def clear_interventions(self):
        self._call("session_clear_interventions", self)


class Generator(_Object):
    """Goes on token by token; iterating draws tokens until the model's context is full."""

    _kind = "generator"

    def __init__(self, context, model, **options):
        self._open(context, "generator_create", context, model, options=options)
        self._limit = model.config["block_size"]

    def __len__(self):
        return _library.sn_generator_count(self._handle.pointer)

    def append(self, tokens):
        keep, address, n = _given_row(tokens, "i", "tokens")
        self._call("generator_append", self, address, n)

    def next(self):
        token = c_int32()
        self._call("generator_next", byref(token), self)
        return token.value

    def __iter__(self):
        while len(self) < self._limit:
            yield self.next()

    def logits(self, out=None):
        """Of the token that comes next."""
        return _fetch(self.context, "generator_logits", "f", self, out=out)

    def reset(self):
        self._call("generator_reset", self)


class Trainer(_Object):
    """Trains a copy of a model; corpora and tasks added to it are kept as long as it."""

    _kind = "trainer"

    def __init__(self, context, model, **options):
        self._open(context, "trainer_create", context, model, options=options)

    @classmethod
    def load(cls, context, path):
        """Goes on from a saved state: the same corpora and tasks must be added again."""
        return cls._make(context, "trainer_load", context, _path(path))

    def _lent(self, source):
        # The trainer reads the source at every step: it may neither go nor change.
        self._handle.kept.append(_Lease(source._handle))

    def add_corpus(self, corpus, share=1, window=0):
        self._call("trainer_add_corpus", self, corpus, share, _count(window))
        self._lent(corpus)

    def add_task(self, task, share=1):
        self._call("trainer_add_task", self, task, share)
        self._lent(task)

    def step(self):
        loss = c_double()
        self._call("trainer_step", byref(loss), self)
        return loss.value

    def run(self, n_steps=0):
        """n_steps, or to the end of the run."""
        self._call("trainer_run", self, _count(n_steps))

    def validate(self, corpus, n_windows):
        loss = c_double()
        self._call("trainer_validate", byref(loss), self, corpus, _count(n_windows))
        return loss.value

    def snapshot(self):
        return Model._make(self.context, "trainer_snapshot", self)

    def statistic(self, name):
        value = c_double()
        self._call("trainer_statistic", byref(value), self, _text(name))
        return value.value

    def set_checkpoint(self, path):
        self._call("trainer_set_checkpoint", self, _path(path))

    def save(self, path):
        self._call("trainer_save", self, _path(path))


# ------------------------------------------------------------- tasks, circuits


class Task(_Object):
    """Pairs of prompts with a target each."""

    _kind = "task"

    def __init__(self, context, name):
        self._open(context, "task_create", context, _text(name))

    @classmethod
    def load(cls, context, path, tokenizer=None):
        return cls._make(context, "task_load_jsonl", context, tokenizer, _path(path))

    @classmethod
    def python(cls, context, tokenizer, name, n_pairs, **options):
        """One of the twenty tasks on generated Python: python_tasks() names them."""
        return cls._make(
            context, "python_task", context, tokenizer, _text(name), _count(n_pairs), options=options
        )

    def save(self, path, tokenizer=None):
        self._call("task_save_jsonl", self, self.context, tokenizer, _path(path))

    def add_pair(self, prompt_a, prompt_b, target_a, target_b):
        a, at_a, n_a = _given_row(prompt_a, "i", "tokens of prompt_a")
        b, at_b, n_b = _given_row(prompt_b, "i", "tokens of prompt_b")
        self._call(
            "task_add_pair",
            self._changing(),
            self.context,
            at_a,
            n_a,
            at_b,
            n_b,
            target_a,
            target_b,
        )

    def add_text_pair(self, tokenizer, prompt_a, prompt_b, target_a, target_b):
        self._call(
            "task_add_text_pair",
            self._changing(),
            self.context,
            tokenizer,
            _text(prompt_a),
            _text(prompt_b),
            _text(target_a),
            _text(target_b),
        )

    @property
    def name(self):
        return _library.sn_task_name(self._handle.pointer).decode(errors="replace")

    def __len__(self):
        return _library.sn_task_count(self._handle.pointer)

    def __getitem__(self, index):
        """(prompt_a, prompt_b, target_a, target_b); the prompts are lent."""
        handle = self._handle
        a, b, n_a, n_b, target_a, target_b = (
            c_void_p(),
            c_void_p(),
            c_size_t(),
            c_size_t(),
            c_int32(),
            c_int32(),
        )
        _library.sn_task_pair(
            byref(a),
            byref(n_a),
            byref(b),
            byref(n_b),
            byref(target_a),
            byref(target_b),
            handle.pointer,
            _index(index, len(self)),
        )
        return (
            _lend(handle, a.value, "i", n_a.value),
            _lend(handle, b.value, "i", n_b.value),
            target_a.value,
            target_b.value,
        )


def python_tasks():
    """Names for Task.python."""
    return [_library.sn_python_task_name(i).decode() for i in range(_library.sn_python_task_count())]


def python_required_tokens():
    """For Tokenizer.train(required=...): what must be single tokens for all of these tasks."""
    return _library.sn_python_required_tokens().decode()


class Means(_Object):
    """The mean activation of every node over a corpus."""

    _kind = "means"

    def __init__(self, context, model, corpus, **options):
        self._open(context, "means_create", context, model, corpus, options=options)

    def site(self, name):
        """The means of a site's channels, lent."""
        width, handle = c_size_t(), self._handle
        address = _library.sn_means_site(byref(width), handle.pointer, _text(name))
        if not address:
            raise KeyError(name)
        return _lend(handle, address, "f", width.value)


class _Numbers(ctypes.Structure):
    """A struct of the library, first its size."""

    def __init__(self):
        super().__init__(ctypes.sizeof(self))

    def __repr__(self):
        values = (f"{name}={getattr(self, name)!r}" for name, *_ in self._fields_[1:])
        return f"{type(self).__name__}({', '.join(values)})"


class Evaluation(_Numbers):
    """Losses in nats over the two targets of each pair, calibrated and raw."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("n_pairs", c_size_t),
        ("loss", c_double),
        ("accuracy", c_double),
        ("raw_loss", c_double),
        ("raw_accuracy", c_double),
        ("scale", c_double),
        ("shift", c_double),
    ]


class Summary(_Numbers):
    """How a node's values are distributed."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("n_tokens", c_uint64),
        ("n_zero", c_uint64),
        ("minimum", c_double),
        ("maximum", c_double),
        ("mean", c_double),
        ("deviation", c_double),
    ]


class _Page(_Numbers):
    _fields_ = [
        ("struct_size", c_size_t),
        ("tokenizer", c_void_p),
        ("evidence", c_void_p),
        ("task", c_void_p),
        ("other", c_void_p),
        ("other_task", c_void_p),
        ("n_pairs", c_size_t),
    ]


NOTHING, REST, CIRCUIT, EVERYTHING, EDGES = 0, 1, 2, 3, 4  # what evaluate() ablates
LABEL, NOTE = 0, 1


def evaluate(context, model, task, fit=None, circuit=None, means=None, ablate=None):
    """What a model does on a task, or under a circuit: by default with everything outside the circuit ablated."""
    ablate = ablate if ablate is not None else REST if circuit is not None else NOTHING
    result = Evaluation()
    context._run("evaluate", byref(result), context, model, means, circuit, ablate, fit or task, task)
    return result


class Circuit(_Object):
    """Kept nodes, the edges between them, and what was measured."""

    _kind = "circuit"

    def __init__(self, context, model, task=""):
        """An empty circuit, to be filled by hand."""
        self._open(context, "circuit_create", context, model, _text(task))

    @classmethod
    def extract(cls, context, model, means, task, develop=None, **options):
        return cls._make(
            context, "circuit_extract", context, model, means, task, develop, options=options
        )

    @classmethod
    def load(cls, context, model, path):
        return cls._make(context, "circuit_load", context, model, _path(path))

    def random(self, seed=0):
        """A random circuit of the same size."""
        return Circuit._make(self.context, "circuit_create_random", self.context, self, seed)

    def __or__(self, other):
        return Circuit._make(self.context, "circuit_combine", self.context, self, other, 0)

    def __and__(self, other):
        return Circuit._make(self.context, "circuit_combine", self.context, self, other, 1)

    def __sub__(self, other):
        return Circuit._make(self.context, "circuit_combine", self.context, self, other, 2)

    @property
    def task(self):
        return _library.sn_circuit_task(self._handle.pointer).decode(errors="replace")

    @property
    def model(self):
        pointer = _library.sn_model_retain(_library.sn_circuit_model(self._handle.pointer))
        return Model._take(self.context, pointer)

    def add(self, *nodes):
        for node in nodes:
            self._call("circuit_add_node", self, self.context, _text(node))

    def remove(self, *nodes):
        for node in nodes:
            self._call("circuit_remove_node", self, self.context, _text(node))

    @property
    def nodes(self):
        pointer = self._handle.pointer
        return [
            _library.sn_circuit_node_name(pointer, i).decode()
            for i in range(_library.sn_circuit_node_count(pointer))
        ]

    @property
    def edges(self):
        """[(from, to, weight)]"""
        pointer, nodes, edges = self._handle.pointer, self.nodes, []
        start, end, weight = c_size_t(), c_size_t(), c_float()
        for i in range(_library.sn_circuit_edge_count(pointer)):
            _library.sn_circuit_edge(byref(start), byref(end), byref(weight), pointer, i)
            edges.append((nodes[start.value], nodes[end.value], weight.value))
        return edges

    @property
    def touching_edge_count(self):
        """Edges of the whole model at one end of which is a node of the circuit."""
        return _library.sn_circuit_touching_edge_count(self._handle.pointer)

    def evaluate(self, means, task, fit=None, ablate=REST):
        with self.model as model:
            return evaluate(self.context, model, task, fit, self, means, ablate)

    def text_loss(self, means, corpus, ablate=REST, **options):
        loss = c_double()
        with self.model as model, _given(self.context, options) as given:
            self._call(
                "circuit_text_loss", byref(loss), self.context, model, means, self, ablate, corpus, given
            )
        return loss.value

    def fold(self, means, **options):
        """The circuit as a model of its own."""
        return Model._make(self.context, "circuit_fold", self.context, self, means, options=options)

    def measure_deltas(self, means, task, fit=None):
        """([loss of each node], [of each edge]): how much the loss rises without it."""
        self._call("circuit_measure_deltas", self, self.context, means, fit or task, task)
        pointer, loss, both = self._handle.pointer, c_double(), []
        for part in ("node", "edge"):
            get, deltas = getattr(_library, f"sn_circuit_{part}_delta"), []
            for i in range(getattr(_library, f"sn_circuit_{part}_count")(pointer)):
                get(byref(loss), None, pointer, i)
                deltas.append(loss.value)
            both.append(deltas)
        return tuple(both)

    def trace(self, means, tokenizer, task, **options):
        """Finds the strongest paths: see `paths`."""
        with _given(self.context, options) as given:
            self._call("circuit_trace", self, self.context, means, tokenizer, task, given)
        return self.paths

    @property
    def paths(self):
        """[(words, weight, contribution)] of the last trace()."""
        pointer, paths = self._handle.pointer, []
        weight, contribution = c_double(), c_double()
        for i in range(_library.sn_circuit_path_count(pointer)):
            words = _library.sn_circuit_path(byref(weight), byref(contribution), pointer, i)
            paths.append((words.decode(errors="replace"), weight.value, contribution.value))
        return paths

    @property
    def measurements(self):
        pointer, value, numbers_by_name = self._handle.pointer, c_double(), {}
        for i in range(_library.sn_circuit_measurement_count(pointer)):
            name = _library.sn_circuit_measurement(byref(value), pointer, i)
            numbers_by_name[name.decode(errors="replace")] = value.value
        return numbers_by_name

    def set_measurement(self, name, value):
        self._call("circuit_set_measurement", self, self.context, _text(name), value)

    def set_label(self, node, text, kind=LABEL):
        self._call("circuit_set_label", self, self.context, _text(node), kind, _text(text))

    def label(self, node, kind=LABEL):
        text = _library.sn_circuit_label(self._handle.pointer, self.nodes.index(node), kind)
        return text.decode() if text is not None else None

    # Reports: to a file by its ending, or as text.

    @staticmethod
    def _page(tokenizer=None, evidence=None, task=None, other=None, other_task=None, n_pairs=0):
        page, kept = _Page(), []
        given = {
            "tokenizer": tokenizer,
            "evidence": evidence,
            "task": task,
            "other": other,
            "other_task": other_task,
        }
        for name, one in given.items():
            if one is not None:
                kept.append(one._handle)
                setattr(page, name, one._handle.pointer)
        page.n_pairs = n_pairs
        return page, kept

    def write(self, path, **page):
        """Writes .json, .dot, .graphml, .svg or .html; of a page also: tokenizer, evidence, task, other, ..."""
        form = os.path.splitext(os.fspath(path))[1][1:]
        if form == "html":
            inputs, kept = self._page(**page)
            self._call("report_write_html", self.context, self, byref(inputs), _path(path))
        elif form in ("json", "dot", "graphml", "svg") and not page:
            self._call(f"report_write_{form}", self.context, self, _path(path))
        else:
            raise ValueError(f"{path}: no such report")

    def text(self, form, **page):
        """The same as a str: form is "json", "dot", "graphml", "svg" or "html"."""
        forms, pieces = ("json", "dot", "graphml", "svg", "html"), []
        inputs, kept = self._page(**page)

        def take(text, length, _):
            return self.context._guarded(lambda: pieces.append(ctypes.string_at(text, length)) or 0)

        self._call(
            "report_send", self.context, self, forms.index(form), byref(inputs), _text_type(take), None
        )
        return b"".join(pieces).decode(errors="replace")

    def _repr_svg_(self):
        return self.text("svg")


class Evidence(_Object):
    """What the nodes of a circuit do over a corpus."""

    _kind = "evidence"

    def __init__(self, context, circuit, corpus, **options):
        self._open(context, "evidence_create_circuit", context, circuit, corpus, options=options)

    @property
    def nodes(self):
        pointer = self._handle.pointer
        return [
            _library.sn_evidence_node(pointer, i).decode()
            for i in range(_library.sn_evidence_count(pointer))
        ]

    def summary(self, node):
        result = Summary()
        _library.sn_evidence_summarize(byref(result), self._handle.pointer, self.nodes.index(node))
        return result

    def histogram(self, node):
        """(counts, edges) of the values that are not zero, lent."""
        counts, edges, n, handle = c_void_p(), c_void_p(), c_size_t(), self._handle
        _library.sn_evidence_histogram(
            byref(edges), byref(counts), byref(n), handle.pointer, self.nodes.index(node)
        )
        return (
            _lend(handle, counts.value, "Q", n.value),
            _lend(handle, edges.value, "d", n.value + 1 if n.value else 0),
        )
