'use strict';
/* The circuit with which a trained model closes a string, from Node.js: node quote_circuit.js MODEL TOKENIZER OUT
 * (`make demo` writes out/model.safetensors and out/tokenizer). Prints it and writes OUT.svg and OUT.html. */
const sn = require('./sparsenet');

function complete(context, model, tokenizer, prompt, n) {
  const generator = context.generator(model, {temperature: 0});
  generator.append(tokenizer.encode(prompt));
  const tokens = Array.from({length: n}, () => generator.next());
  generator.close();
  return prompt + tokenizer.decode(tokens);
}

function main(modelPath, tokenizerPath, out) {
  const context = new sn.Context();
  const model = context.loadModel(modelPath);
  const tokenizer = context.loadTokenizer(tokenizerPath);
  console.log(complete(context, model, tokenizer, 'for i in', 8));

  const text = context.corpus();
  text.addIdioms(500000);
  text.tokenize(tokenizer);
  const means = context.means(model, text);
  const task = context.pythonTask(tokenizer, 'single_double_quote', 64);

  context.progress = (stage, done, total) => {
    process.stderr.write(`\r${stage} ${done} of ${total}   `);
  };
  const circuit = context.extract(model, means, task);
  circuit.trace(means, tokenizer, task);
  context.progress = null;

  const {loss, accuracy} = circuit.evaluate(means, task);
  console.log(
    `\n${circuit.nodes.length} nodes, ${circuit.edges.length} edges, loss ${loss.toFixed(3)}, ` +
    `${(100 * accuracy).toFixed(1)} % right`);
  for (const {from, to, weight} of circuit.edges) {
    console.log(`  ${weight.toFixed(3)}  ${from} -> ${to}`);
  }
  circuit.paths.forEach(({words}) => console.log(words));
  circuit.write(`${out}.svg`);
  circuit.write(`${out}.html`, {tokenizer, task});
}

if (process.argv.length !== 5) {
  console.error('usage: node quote_circuit.js MODEL TOKENIZER OUT');
  process.exit(2);
}
try {
  main(...process.argv.slice(2));
} catch (error) {
  console.error(`quote_circuit.js: ${error.message}`);
  process.exit(1);
}
