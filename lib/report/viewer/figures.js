// The circuit's figures: measurements, curves, traced paths, the model's configuration.

const MEASURES = [
  ['loss', 'Loss'], ['raw_loss', 'uncalibrated'], ['accuracy', 'Right'], ['raw_accuracy', 'uncalibrated']
];
const ROWS = {
  full_fresh: 'Whole model, fresh pairs',
  full: 'Whole model',
  prune: 'Circuit alone, pruning pairs',
  fresh: 'Circuit alone, fresh pairs',
  necessity: 'Model without the circuit',
  bigram: 'Bigram table alone',
  random: 'Random circuit of its size',
  circuit: 'Circuit alone',
  develop: 'Circuit alone, development pairs',
};

function rowName(key) {
  const text = key.replace(/_/g, ' ');
  return ROWS[key] || text.charAt(0).toUpperCase() + text.slice(1);
}

// Measurements named X_loss, X_raw_loss, X_accuracy, X_raw_accuracy make a row; the others stand by
// themselves.
function measured(circuit) {
  const rows = new Map(), others = [];
  for (const [name, value] of Object.entries(circuit.measurements || {})) {
    const found = /^(.*?)_?(raw_loss|loss|raw_accuracy|accuracy)$/.exec(name);
    if (!found) {
      others.push([name, value]);
      continue;
    }
    if (!rows.has(found[1]))
      rows.set(found[1], {});
    rows.get(found[1])[found[2]] = value;
  }
  return {rows, others};
}

function percent(value) {
  return value === undefined ? '' : (100 * value).toFixed(1) + ' %';
}

function measureTable(circuit) {
  const {rows, others} = measured(circuit);
  const made = [];
  if (rows.size)
    made.push(element('div', {class: 'scroll'},
      element('table', {class: 'data figures'},
        element('caption', {}, 'Loss in nats over the two answers, calibrated; chance is 0.693'),
        element('thead', {},
          element('tr', {}, element('th', {scope: 'col'}, 'What runs'),
            MEASURES.map(([, title]) => element('th', {scope: 'col', class: 'number'}, title)))),
        element('tbody', {},
          [...rows].map(([key, row]) => element('tr', {}, element('th', {scope: 'row'}, rowName(key)),
                          MEASURES.map(([name]) => element('td', {class: 'number'},
                                         name.endsWith('accuracy') ? percent(row[name]) :
                                           row[name] === undefined ? '' :
                                                                     row[name].toFixed(3)))))))));
  if (others.length)
    made.push(
      pairTable('Other measurements', others.map(([name, value]) => [rowName(name), short(value, 4)])));
  return made;
}

function pairTable(title, pairs) {
  return element('div', {class: 'scroll'},
    element('table', {class: 'data pairs'}, element('caption', {}, title),
      element('tbody', {},
        pairs.map(([name, value]) => element('tr', {}, element('th', {scope: 'row'}, name),
                    element('td', {class: 'number'}, value))))));
}

function pathList(circuit) {
  const show = index => {
    openView('graph');
    byId('path').value = String(index);
    selectPath(String(index));
  };
  const arrow = () => element('span', {class: 'arrow'}, ' → ');
  const words = path => path.text.split(' → ').flatMap((part, k) => k ? [arrow(), part] : [part]);
  return element('ol', {class: 'paths'},
    (circuit.paths || []).map((path, i) => element('li', {}, button('path', () => show(i), [
      element('span', {class: 'value'}, logits(path.contribution)),
      element('span', {class: 'chain'}, words(path))
    ]))));
}

function seriesCharts(circuit) {
  return (circuit.series || [])
    .filter(series => series.x.length > 1)
    .map(series => lineChart(Object.assign({title: rowName(series.name), x_label: 'x', y_label: 'y'},
           SERIES[series.name] || {}, {x: series.x, y: series.y})));
}

const SERIES = {
  loss_by_size: {
    title: 'Loss against k: the circuit’s loss with the k best-ranked nodes or edges',
    x_label: 'k',
    y_label: 'loss, nats',
    log_x: true
  },
  pruning_loss: {title: 'Pruning: loss of each batch', x_label: 'step', y_label: 'loss, nats'},
  pruning_size: {title: 'Pruning: nodes or edges kept', x_label: 'step', y_label: 'kept'},
};

function circuitFigures(circuit, index) {
  const n_nodes = circuit.nodes.length, n_edges = circuit.edges.length;
  const head = data.circuits.length > 1 ?
    element('h2', {}, (index ? 'Second: ' : 'First: ') + circuit.task) :
    element('h2', {}, 'Figures');
  return [
    head,
    pairTable('Size',
      [
        ['Nodes', n_nodes.toLocaleString('en')], ['Edges', n_edges.toLocaleString('en')],
        ['Edges of the model that touch its nodes', data.touching[index].toLocaleString('en')]
      ]),
    measureTable(circuit), element('div', {class: 'charts'}, seriesCharts(circuit)),
    index === 0 && (circuit.paths || []).length ?
      [
        element('h3', {}, 'Strongest paths, by what they add to the difference of the answers’ logits'),
        pathList(circuit)
      ] :
      null
  ];
}

function showFigures() {
  put(byId('view-figures'), [
    data.circuits.map(circuitFigures),
    pairTable('Configuration of the model',
      Object.entries(data.circuits[0].model).map(([name, value]) => [name, String(value)])),
    element('p', {class: 'quiet'}, 'Written by libsparsenet ' + data.library + '.')
  ]);
}

// Loss and share of right answers alone: for the card.
function glance(circuit) {
  const {rows} = measured(circuit);
  const known = [...rows].filter(([, row]) => row.loss !== undefined);
  if (!known.length)
    return null;
  return element('table', {class: 'data glance'},
    element('thead', {},
      element('tr', {}, element('td', {}), element('th', {scope: 'col', class: 'number'}, 'Loss, nats'),
        element('th', {scope: 'col', class: 'number'}, 'Right'))),
    element('tbody', {},
      known.map(([key, row]) => element('tr', {}, element('th', {scope: 'row'}, rowName(key)),
                  element('td', {class: 'number'}, row.loss.toFixed(3)),
                  element('td', {class: 'number'}, percent(row.accuracy))))));
}

// What the card shows while no node is selected.
function overview() {
  const [circuit, other] = data.circuits, figures = glance(circuit);
  return [
    element('h2', {}, 'At a glance'),
    figures && other ? element('p', {class: 'quiet'}, circuit.task) : null, figures,
    other && glance(other) ? [element('p', {class: 'quiet'}, other.task), glance(other)] : null,
    (circuit.paths || []).length ? section('Strongest paths', pathList(circuit)) : null,
    section('How to read it',
      element('p', {class: 'quiet'},
        'The model computes from left to right. A box is one channel at one place, ' +
          'the fuller the more the task suffers without it; a line is one weight. ' +
          'Select a box to see what it does. ' +
          'Arrow keys go from box to box, / finds one, Escape goes back.'))
  ];
}

function summaryText(index) {
  const circuit = data.circuits[index], {rows} = measured(circuit);
  const row = rows.get('fresh') || rows.get('prune') || rows.get('circuit');
  const parts = [counted(circuit.nodes.length, 'node'), counted(circuit.edges.length, 'edge')];
  if (row && row.loss !== undefined)
    parts.push('alone: loss ' + row.loss.toFixed(3) + ' nats' +
      (row.accuracy === undefined ? '' : ', ' + percent(row.accuracy) + ' right'));
  const without = rows.get('necessity');
  if (without && without.loss !== undefined)
    parts.push('model without it: ' + without.loss.toFixed(3) + ' nats');
  return parts.join(' · ');
}
