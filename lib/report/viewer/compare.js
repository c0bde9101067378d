// Two circuits of one model side by side: what they share, what is each one's own.

function membership(node) {
  const [first, second] = data.circuits.map(circuit => circuit.task);
  return [
    '', 'Only in the first circuit, ' + first, 'Only in the second circuit, ' + second,
    'In both circuits'
  ][node.members];
}

function countMembers(list, members) {
  return list.filter(thing => thing.members === members).length;
}

function sizeText(list, members) {
  return counted(countMembers(list.nodes, members), 'node') + ' and ' +
    counted(countMembers(list.edges, members), 'edge');
}

function comparisonText() {
  const all = {nodes: nodes.filter(node => node.kind === 'node'), edges};
  const [first, second] = data.circuits.map(circuit => circuit.task);
  return 'In both: ' + sizeText(all, 3) + ' · only ' + first + ': ' + sizeText(all, 1) + ' · only ' +
    second + ': ' + sizeText(all, 2);
}

function makeCompare() {
  byId('compare-field').hidden = data.circuits.length < 2;
  byId('compare').addEventListener('change', event => {
    state.members = event.target.value;
    refreshEdges();
    showFocus();
  });
}

// ---- the legend, which says what of all this the picture holds

function legendLine(kind, text) {
  return element('span', {class: 'key'},
    drawn('svg', {width: 34, height: 10, 'aria-hidden': true},
      drawn('line', {class: 'sample ' + kind, x1: 1, x2: 33, y1: 5, y2: 5})),
    text);
}

function legendPill(kind, text) {
  return element('span', {class: 'key'},
    drawn('svg', {width: 26, height: 14, 'aria-hidden': true},
      drawn('g', {class: 'node ' + kind}, drawn('rect', {x: 2, y: 1.5, width: 22, height: 11, rx: 4}))),
    text);
}

function makeLegend() {
  const keys = [
    legendLine('plus', 'positive weight'), legendLine('minus', 'negative weight'),
    element('span', {class: 'key'}, 'thickest: ±' + short(picture.largest.edge))
  ];
  if (links.length)
    keys.push(legendLine('link', 'same residual channel, read later'));
  if (nodes.some(node => delta(node))) {
    const pills = legendPill('node', 'filled: loss rises without it');
    pills.querySelector('rect').style.setProperty('--strength', '1');
    keys.push(pills);
  }
  if (data.circuits.length > 1)
    keys.push(legendPill('first', 'only ' + data.circuits[0].task),
      legendPill('second', 'only ' + data.circuits[1].task), legendPill('shared', 'both'));
  put(byId('legend'), keys);
}
