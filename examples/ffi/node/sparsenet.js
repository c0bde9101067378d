'use strict';
/* libsparsenet from Node.js, through koffi (npm install koffi).
 *
 *   const sn = require('./sparsenet');
 *   const context = new sn.Context({threads: 2});
 *   const model = context.loadModel('model.safetensors');
 *   const session = context.session(model);
 *   session.forward([1, 2, 3]);                    // or an Int32Array, which is not copied
 *   const logits = session.logits();               // Float32Array, tokens x vocabulary
 *
 * The library is $SPARSENET_LIBRARY, or libsparsenet.so.0 wherever the system finds it. A failure throws a
 * SparsenetError with its status. Objects are freed by close(), or by the garbage collector in whatever order:
 * the library allows any. Calls block; what a progress callback throws ends the call and is thrown by it, a true
 * result cancels it. docs/ffi.md has the rules. */
const koffi = require('koffi');

const handles = [
  'context', 'allocator', 'options', 'tokenizer', 'corpus', 'model', 'session', 'generator', 'task',
  'means', 'circuit', 'evidence'
];
handles.forEach((name) => koffi.opaque(`sn_${name}`));
koffi.struct('sn_evaluation', {
  struct_size: 'size_t',
  n_pairs: 'size_t',
  loss: 'double',
  accuracy: 'double',
  raw_loss: 'double',
  raw_accuracy: 'double',
  scale: 'double',
  shift: 'double',
});
koffi.struct('sn_page', {
  struct_size: 'size_t',
  tokenizer: 'const sn_tokenizer *',
  evidence: 'const sn_evidence *',
  task: 'const sn_task *',
  other: 'const sn_circuit *',
  other_task: 'const sn_task *',
  n_pairs: 'size_t',
});
const progressType = koffi.proto(
  'int sn_progress_callback(const char *stage, size_t done, size_t total, double value, void *payload)');
koffi.proto('int sn_text_callback(const uint8_t *text, size_t length, void *payload)');

/* As they stand in sparsenet.h (tests/ffi/prototypes.py compares them). */
const prototypes = `
const char *sn_version_string(void);
const char *sn_status_string(int status);
int sn_context_create(sn_context **out, const sn_allocator *allocator);
void sn_context_free(sn_context *context);
const char *sn_context_message(const sn_context *context);
int sn_context_set_threads(sn_context *context, size_t n_threads);
void sn_context_set_progress(sn_context *context, sn_progress_callback callback, void *payload);
void sn_context_memory(size_t *current, size_t *peak, const sn_context *context);
int sn_options_create(sn_options **out, sn_context *context);
void sn_options_free(sn_options *options);
int sn_options_set(sn_options *options, sn_context *context, const char *key, double value);
int sn_options_set_text(sn_options *options, sn_context *context, const char *key, const char *value);
int sn_tokenizer_load(sn_tokenizer **out, sn_context *context, const char *path);
void sn_tokenizer_free(sn_tokenizer *tokenizer);
int sn_tokenizer_encode(int32_t *tokens, size_t capacity, size_t *needed, sn_context *context,
    const sn_tokenizer *tokenizer, const char *text, size_t length);
int sn_tokenizer_decode(char *text, size_t capacity, size_t *needed, sn_context *context,
    const sn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens);
int sn_corpus_create(sn_corpus **out, sn_context *context);
void sn_corpus_free(sn_corpus *corpus);
int sn_corpus_add_text(sn_corpus *corpus, sn_context *context, const char *text, size_t length);
int sn_corpus_add_tokens(sn_corpus *corpus, sn_context *context, const int32_t *tokens, size_t n_tokens);
int sn_python_add_idioms(sn_corpus *corpus, sn_context *context, size_t n_bytes, const sn_options *options);
int sn_corpus_tokenize(sn_corpus *corpus, sn_context *context, const sn_tokenizer *tokenizer);
int sn_model_load(sn_model **out, sn_context *context, const char *path);
void sn_model_free(sn_model *model);
int64_t sn_model_config_number(const sn_model *model, const char *key);
int sn_session_create(sn_session **out, sn_context *context, sn_model *model, const sn_options *options);
void sn_session_free(sn_session *session);
int sn_session_forward(sn_session *session, const int32_t *tokens, const size_t *offsets, size_t n_sequences);
int sn_session_logits(float *logits, size_t capacity, size_t *needed, sn_session *session);
int sn_session_record(sn_session *session, const char *site);
int sn_session_activations(float *values, size_t capacity, size_t *needed, sn_session *session, const char *site);
int sn_generator_create(sn_generator **out, sn_context *context, sn_model *model, const sn_options *options);
void sn_generator_free(sn_generator *generator);
int sn_generator_append(sn_generator *generator, const int32_t *tokens, size_t n_tokens);
int sn_generator_next(int32_t *token, sn_generator *generator);
size_t sn_generator_count(const sn_generator *generator);
int sn_python_task(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char *name,
    size_t n_pairs, const sn_options *options);
int sn_task_load_jsonl(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char *path);
void sn_task_free(sn_task *task);
int sn_means_create(sn_means **out, sn_context *context, sn_model *model, const sn_corpus *corpus,
    const sn_options *options);
void sn_means_free(sn_means *means);
int sn_evaluate(sn_evaluation *result, sn_context *context, sn_model *model, const sn_means *means,
    const sn_circuit *circuit, int ablate, const sn_task *fit, const sn_task *task);
int sn_circuit_extract(sn_circuit **out, sn_context *context, sn_model *model, const sn_means *means,
    const sn_task *task, const sn_task *develop, const sn_options *options);
int sn_circuit_load(sn_circuit **out, sn_context *context, sn_model *model, const char *path);
void sn_circuit_free(sn_circuit *circuit);
sn_model *sn_circuit_model(const sn_circuit *circuit);
size_t sn_circuit_node_count(const sn_circuit *circuit);
const char *sn_circuit_node_name(const sn_circuit *circuit, size_t index);
size_t sn_circuit_edge_count(const sn_circuit *circuit);
int sn_circuit_edge(size_t *from, size_t *to, float *weight, const sn_circuit *circuit, size_t index);
int sn_circuit_trace(sn_circuit *circuit, sn_context *context, const sn_means *means,
    const sn_tokenizer *tokenizer, const sn_task *task, const sn_options *options);
size_t sn_circuit_path_count(const sn_circuit *circuit);
const char *sn_circuit_path(double *weight, double *contribution, const sn_circuit *circuit, size_t index);
int sn_report_write_json(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_dot(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_graphml(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_svg(sn_context *context, const sn_circuit *circuit, const char *path);
int sn_report_write_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs, const char *path);
int sn_report_send(sn_context *context, const sn_circuit *circuit, int form, const sn_page *inputs,
    sn_text_callback callback, void *payload);
`;

/* koffi wants to know what a call writes to: pointers to what is neither const nor an object of the library. */
function forKoffi(parameter) {
  if (/_callback /.test(parameter)) {
    return parameter.replace('_callback ', '_callback *');
  }
  if (/^sn_\w+ \*\*|^(size_t|int32_t|float|double|char) \*/.test(parameter)) {
    return `_Out_ ${parameter.replace('char *', 'uint8_t *')}`;
  }
  return parameter.replace('sn_evaluation *', '_Inout_ sn_evaluation *');
}

const library = koffi.load(process.env.SPARSENET_LIBRARY || 'libsparsenet.so.0');
const C = {};
for (const prototype of prototypes.replace(/\s+/g, ' ').split(';').filter((one) => one.trim())) {
  const [, result, name, parameters] = /^ ?(.*?)(sn_\w+)\((.*)\)/.exec(prototype);
  C[name] = library.func(`${result}${name}(${parameters.split(', ').map(forKoffi).join(', ')})`);
}

class SparsenetError extends Error {
  constructor(status, message) {
    super(message || C.sn_status_string(status));
    this.name = 'SparsenetError';
    this.status = status;
  }
}

const freed = new FinalizationRegistry((release) => release());

/* Base of all classes: a pointer, and the context in which its calls run. */
class Handle {
  constructor(context, kind, pointer, after = () => {}) {
    this.context = context || this;
    this.opened = pointer;
    this.release = () => {
      C[`sn_${kind}_free`](pointer);
      after();
    };
    freed.register(this, this.release, this);
  }
  get pointer() {
    if (!this.opened) {
      throw new Error(`this ${this.constructor.name} is closed`);
    }
    return this.opened;
  }
  close() {
    if (this.opened) {
      this.opened = null;
      freed.unregister(this);
      this.release();
    }
  }
}

function int32(tokens) {
  if (tokens instanceof Int32Array) {
    return tokens;
  }
  const made = Int32Array.from(tokens);
  if (made.some((token, i) => token !== tokens[i])) {
    throw new TypeError('tokens are whole numbers of 32 bits');
  }
  return made;
}

class Context extends Handle {
  /* threads: 1; progress: (stage, done, total, value) => true to cancel. */
  constructor({threads = 1, progress = null} = {}) {
    const out = [null];
    const status = C.sn_context_create(out, null);
    if (status) {
      throw new SparsenetError(status);
    }
    const state = {progress, thrown: null};
    const callback = koffi.register(
      (stage, done, total, value) => guarded(
        state, () => state.progress && state.progress(stage, Number(done), Number(total), value)),
      koffi.pointer(progressType));
    super(null, 'context', out[0], () => koffi.unregister(callback));
    this.state = state;
    C.sn_context_set_progress(out[0], callback, null);
    this.call('context_set_threads', out[0], threads);
  }
  set progress(callback) {
    this.state.progress = callback;
  }
  call(name, ...rest) {
    this.state.thrown = null;
    const status = C[`sn_${name}`](...rest);
    const thrown = this.state.thrown;
    if (thrown) {
      this.state.thrown = null;
      throw thrown.error;
    }
    if (status) {
      throw new SparsenetError(status, C.sn_context_message(this.pointer));
    }
  }
  /* From a function that begins with `out, context`. */
  make(Class, kind, name, ...rest) {
    const out = [null];
    this.call(name, out, this.pointer, ...rest);
    return new Class(this, kind, out[0]);
  }
  /* An array by pointer, capacity and needed. */
  fetch(ArrayType, name, ...rest) {
    const needed = [0];
    this.call(name, null, 0, needed, ...rest);
    const values = new ArrayType(Number(needed[0]));
    this.call(name, values, values.length, needed, ...rest);
    return values;
  }
  /* Calls use(options) with the settings as the library takes them. */
  withOptions(settings, use) {
    if (!settings || Object.keys(settings).length === 0) {
      return use(null);
    }
    const out = [null];
    this.call('options_create', out, this.pointer);
    try {
      for (const [key, value] of Object.entries(settings)) {
        if (typeof value === 'string') {
          this.call('options_set_text', out[0], this.pointer, key, value);
        } else {
          this.call('options_set', out[0], this.pointer, key, Number(value));
        }
      }
      return use(out[0]);
    } finally {
      C.sn_options_free(out[0]);
    }
  }
  bytesHeld() {
    const current = [0];
    C.sn_context_memory(current, null, this.pointer);
    return Number(current[0]);
  }

  loadModel(path) {
    return this.make(Model, 'model', 'model_load', path);
  }
  loadTokenizer(path) {
    return this.make(Tokenizer, 'tokenizer', 'tokenizer_load', path);
  }
  corpus() {
    return this.make(Corpus, 'corpus', 'corpus_create');
  }
  session(model, settings) {
    const made = this.withOptions(
      settings, (options) => this.make(Session, 'session', 'session_create', model.pointer, options));
    made.vocabulary = model.config('vocab_size');
    return made;
  }
  generator(model, settings) {
    return this.withOptions(settings,
      (options) => this.make(Generator, 'generator', 'generator_create', model.pointer, options));
  }
  pythonTask(tokenizer, name, pairs, settings) {
    return this.withOptions(settings,
      (options) => this.make(Task, 'task', 'python_task', tokenizer.pointer, name, pairs, options));
  }
  loadTask(tokenizer, path) {
    return this.make(Task, 'task', 'task_load_jsonl', tokenizer ? tokenizer.pointer : null, path);
  }
  means(model, corpus, settings) {
    return this.withOptions(settings,
      (options) => this.make(Means, 'means', 'means_create', model.pointer, corpus.pointer, options));
  }
  extract(model, means, task, settings, develop = null) {
    return this.withOptions(settings,
      (options) => this.make(Circuit, 'circuit', 'circuit_extract', model.pointer, means.pointer,
        task.pointer, develop && develop.pointer, options));
  }
  loadCircuit(model, path) {
    return this.make(Circuit, 'circuit', 'circuit_load', model.pointer, path);
  }
}

/* Nothing may be thrown through C: it stops the call, which throws it. */
function guarded(state, work) {
  try {
    return work() ? 1 : 0;
  } catch (error) {
    state.thrown = {error};
    return 1;
  }
}

class Tokenizer extends Handle {
  encode(text) {
    const length = Buffer.byteLength(text);
    return this.context.fetch(
      Int32Array, 'tokenizer_encode', this.context.pointer, this.pointer, text, length);
  }
  decode(tokens) {
    const bytes = this.context.fetch(
      Uint8Array, 'tokenizer_decode', this.context.pointer, this.pointer, int32(tokens), tokens.length);
    return Buffer.from(bytes).toString();
  }
}

class Corpus extends Handle {
  addText(text) {
    this.context.call(
      'corpus_add_text', this.pointer, this.context.pointer, text, Buffer.byteLength(text));
  }
  addTokens(tokens) {
    this.context.call(
      'corpus_add_tokens', this.pointer, this.context.pointer, int32(tokens), tokens.length);
  }
  addIdioms(bytes, settings) {
    this.context.withOptions(settings,
      (options) =>
        this.context.call('python_add_idioms', this.pointer, this.context.pointer, bytes, options));
  }
  tokenize(tokenizer) {
    this.context.call('corpus_tokenize', this.pointer, this.context.pointer, tokenizer.pointer);
  }
}

class Model extends Handle {
  config(key) {
    return Number(C.sn_model_config_number(this.pointer, key));
  }
}

class Session extends Handle {
  /* One sequence, or with offsets [0, ..., n] several, end to end. */
  forward(tokens, offsets = [0, tokens.length]) {
    if (offsets[offsets.length - 1] !== tokens.length) {
      throw new RangeError('offsets must end at the number of tokens');
    }
    this.context.call('session_forward', this.pointer, int32(tokens), offsets, offsets.length - 1);
  }
  logits() {
    return this.context.fetch(Float32Array, 'session_logits', this.pointer);
  }
  record(site) {
    this.context.call('session_record', this.pointer, site);
  }
  activations(site) {
    return this.context.fetch(Float32Array, 'session_activations', this.pointer, site);
  }
}

class Generator extends Handle {
  append(tokens) {
    this.context.call('generator_append', this.pointer, int32(tokens), tokens.length);
  }
  next() {
    const token = [0];
    this.context.call('generator_next', token, this.pointer);
    return token[0];
  }
}

class Task extends Handle {}
class Means extends Handle {}

const forms = ['json', 'dot', 'graphml', 'svg', 'html'];

class Circuit extends Handle {
  get nodes() {
    return Array.from({length: Number(C.sn_circuit_node_count(this.pointer))},
      (_, i) => C.sn_circuit_node_name(this.pointer, i));
  }
  get edges() {
    const {nodes} = this;
    return Array.from({length: Number(C.sn_circuit_edge_count(this.pointer))}, (_, i) => {
      const from = [0];
      const to = [0];
      const weight = [0];
      C.sn_circuit_edge(from, to, weight, this.pointer, i);
      return {from: nodes[Number(from[0])], to: nodes[Number(to[0])], weight: weight[0]};
    });
  }
  trace(means, tokenizer, task, settings) {
    this.context.withOptions(settings,
      (options) => this.context.call('circuit_trace', this.pointer, this.context.pointer, means.pointer,
        tokenizer.pointer, task.pointer, options));
  }
  get paths() {
    return Array.from({length: Number(C.sn_circuit_path_count(this.pointer))}, (_, i) => {
      const weight = [0];
      const contribution = [0];
      const words = C.sn_circuit_path(weight, contribution, this.pointer, i);
      return {words, weight: weight[0], contribution: contribution[0]};
    });
  }
  /* ablate: SN_ABLATE_* of the header; 1 = everything outside the circuit. */
  evaluate(means, task, ablate = 1) {
    const result = {
      struct_size: koffi.sizeof('sn_evaluation'),
      n_pairs: 0,
      loss: 0,
      accuracy: 0,
      raw_loss: 0,
      raw_accuracy: 0,
      scale: 0,
      shift: 0
    };
    this.context.call('evaluate', result, this.context.pointer, C.sn_circuit_model(this.pointer),
      means.pointer, this.pointer, ablate, task.pointer, task.pointer);
    return result;
  }
  /* A page's inputs: {tokenizer, evidence, task, other, otherTask, pairs}. */
  static page({tokenizer, evidence, task, other, otherTask, pairs = 0} = {}) {
    const pointer = (one) => (one ? one.pointer : null);
    return {
      struct_size: koffi.sizeof('sn_page'),
      tokenizer: pointer(tokenizer),
      evidence: pointer(evidence),
      task: pointer(task),
      other: pointer(other),
      other_task: pointer(otherTask),
      n_pairs: pairs
    };
  }
  /* .json, .dot, .graphml, .svg or .html. */
  write(path, page) {
    const form = path.slice(path.lastIndexOf('.') + 1);
    if (form === 'html') {
      this.context.call(
        'report_write_html', this.context.pointer, this.pointer, Circuit.page(page), path);
    } else if (forms.includes(form)) {
      this.context.call(`report_write_${form}`, this.context.pointer, this.pointer, path);
    } else {
      throw new RangeError(`${path}: no such report`);
    }
  }
  /* The same as a string: 'json', 'dot', 'graphml', 'svg' or 'html'. */
  text(form, page) {
    const pieces = [];
    const take = (text, length) => guarded(this.context.state, () => {
      pieces.push(Buffer.from(koffi.decode(text, 'uint8_t', Number(length))));
    });
    this.context.call('report_send', this.context.pointer, this.pointer, forms.indexOf(form),
      Circuit.page(page), take, null);
    return Buffer.concat(pieces).toString();
  }
}

module.exports = {
  C,
  Circuit,
  Context,
  Corpus,
  Generator,
  Means,
  Model,
  Session,
  SparsenetError,
  Task,
  Tokenizer,
  version : C.sn_version_string()
};
