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
