'use strict';
/* examples/ffi/node/sparsenet.js: node --expose-gc case.js BINDING FOLDER, where reference.c has been. Wants
 * SPARSENET_LIBRARY, NODE_PATH. */
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const [, , binding, folder] = process.argv;
const sn = require(path.resolve(binding));

const at = (name) => path.join(folder, name);
const read = (name) => fs.readFileSync(at(name));
const texts = ['for i in range(10):\n    print(i)\n', 'name = \'a\' + "b"\n'];
const failsWith = (status, pattern) => (error) => error.status === status && pattern.test(error.message);

function load(context) {
  return [context.loadModel(at('model.safetensors')), context.loadTokenizer(at('tokenizer'))];
}

function numbers(context) {
  const [model, tokenizer] = load(context);
  const session = context.session(model);
  const parts = texts.map((text) => tokenizer.encode(text));
  const tokens = Int32Array.from(parts.flatMap((part) => [...part]));
  const bytes = () => Buffer.from(session.logits().buffer);
  session.forward(tokens, [0, parts[0].length, tokens.length]);
  assert(bytes().equals(read('c.logits')));
  assert.throws(() => session.activations('0.mlp.post_act'), failsWith(8, /post_act/));
  session.record('0.mlp.post_act');
  session.forward([...tokens]);
  assert.strictEqual(
    session.activations('0.mlp.post_act').length, tokens.length * model.config('d_mlp'));

  const generator = context.generator(model, {temperature: 0.8, seed: 3});
  generator.append(tokenizer.encode('print('));
  const drawn = Array.from({length: 24}, () => generator.next());
  assert.strictEqual(tokenizer.decode(drawn), read('c.text').toString());
  model.close();
  session.forward(tokens, [0, parts[0].length, tokens.length]);
  assert(bytes().equals(read('c.logits')));
  session.close();
  assert.throws(() => session.logits(), /closed/);
}

function circuits(context) {
  const [model, tokenizer] = load(context);
  const corpus = context.corpus();
  corpus.addIdioms(20000, {seed: 5});
  corpus.tokenize(tokenizer);
  const means = context.means(model, corpus, {tokens: 4096});
  const task = context.pythonTask(tokenizer, 'single_double_quote', 24, {seed: 2, max_tokens: 60});
  const extract = () => context.extract(model, means, task, {steps: 40, k_coef: 1e-3, batch: 16});
  let calls = 0;
  context.progress = (stage, done, total, value) => {
    calls += typeof stage === 'string' && done <= total && Number.isFinite(value);
  };
  const circuit = extract();
  assert(calls > 40);
  circuit.trace(means, tokenizer, task);
  circuit.write(at('node.json'));
  circuit.write(at('node.html'), {tokenizer, task, pairs: 1});
  assert(read('node.json').equals(read('c.json')));
  assert.strictEqual(circuit.text('json'), read('c.json').toString());
  assert.strictEqual(circuit.text('svg'), read('c.svg').toString());
  assert.strictEqual(circuit.text('html', {tokenizer, task, pairs: 1}), read('node.html').toString());
  assert.strictEqual(circuit.evaluate(means, task).n_pairs, 24);
  assert(circuit.paths.length > 0);
  assert.deepStrictEqual(context.loadCircuit(model, at('node.json')).edges, circuit.edges);

  context.progress = (stage, done) => stage === 'prune' && done === 3;
  assert.throws(extract, failsWith(7, /prune/));
  context.progress = (stage, done) => {
    if (stage === 'prune' && done === 3) {
      throw new TypeError('from the callback');
    }
  };
  assert.throws(extract, /^TypeError: from the callback$/);
  context.progress = null;
}

function errors(context) {
  assert.throws(() => context.loadModel('/nonexistent'), failsWith(3, /\/nonexistent/));
  const [model] = load(context);
  assert.throws(() => context.generator(model, {temprature: 1}), failsWith(1, /temprature/));
  assert.throws(() => context.session(model).forward([-1]), failsWith(1, /vocabulary/));
  assert.throws(() => context.session(model).forward([1, 2], [0, 3]), RangeError);
  assert.throws(() => context.session(model).forward([1, 2.5]), TypeError);
}

/* Objects go when the collector finds them, some rounds later. */
async function collected(context, empty) {
  for (let i = 0; i < 100 && context.bytesHeld() !== empty; i++) {
    global.gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.strictEqual(context.bytesHeld(), empty);
}

const context = new sn.Context({threads: 2});
const empty = context.bytesHeld();
numbers(context);
circuits(context);
errors(context);
collected(context, empty)
  .then(() => {
    context.session(load(context)[0]);
    context.close();
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
