// Labels and notes, changed here and saved as circuit JSON, which sn_circuit_load reads.

const MOST_BYTES = {
  label: 1024,
  note: 1048576
};
const edited = new Set();  // names of nodes

// What the library takes: no control characters (a note may have newlines and tabs), so many bytes of
// UTF-8.
function cleanText(text, kind) {
  let clean = kind === 'note' ? text.replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n\t]/gu, '') :
                                text.replace(/\p{Cc}/gu, ' ');
  clean = clean.replace(/\p{Cs}/gu, '');
  const letters = [...clean];
  while (new TextEncoder().encode(letters.join('')).length > MOST_BYTES[kind])
    letters.length = Math.max(0, Math.min(letters.length - 1, Math.floor(letters.length * 0.95)));
  return letters.join('');
}

function setText(node, kind, text) {
  const clean = cleanText(text, kind);
  if (node[kind] === clean)
    return;
  node[kind] = clean;
  edited.add(node.name);
  showSave();
  if (kind === 'label')
    relabel();
}

// The circuit as the library wrote it, with what has been said about its nodes since.
function circuitText(index) {
  const circuit = Object.assign({}, data.circuits[index]);
  circuit.nodes = circuit.nodes.map(raw => {
    const node = nodeByName.get(raw.name), copy = Object.assign({}, raw);
    if (!edited.has(raw.name))
      return copy;
    for (const kind of ['label', 'note']) {
      delete copy[kind];
      if (node[kind])
        copy[kind] = node[kind];
    }
    return copy;
  });
  return JSON.stringify(circuit, null, 1) + '\n';
}

function fileName(task) {
  return 'circuit_' +
    (task.replace(/[^A-Za-z0-9_.-]+/g, '_').replace(/^[_.]+|[_.]+$/g, '').slice(0, 80) || 'labelled') +
    '.json';
}

function download(index) {
  const address = URL.createObjectURL(new Blob([circuitText(index)], {type: 'application/json'}));
  const link = element('a', {href: address, download: fileName(data.circuits[index].task)});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  edited.saved = true;
  say('Saved as ' + fileName(data.circuits[index].task));
}

function showSave() {
  edited.saved = false;
  put(byId('save'), data.circuits.map((circuit, i) => {
    const mine = [...edited].some(name => nodeByName.get(name).members & 1 << i);
    const title = data.circuits.length > 1 ? 'Save ' + (i ? 'second' : 'first') : 'Save labels';
    return button(mine ? 'due' : '', () => download(i), title,
      {title: 'Download the circuit as JSON, with labels and notes'});
  }));
}

function makeLabels() {
  showSave();
  window.addEventListener('beforeunload', event => {
    if (edited.size && !edited.saved)
      event.preventDefault();
  });
}
