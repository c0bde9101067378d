// The columns of the graph, in the order of the forward pass, and what stands above them.

const STEPS = {
  act_in: 0,
  q: 1,
  k: 1,
  v: 1,
  post_act: 1,
  resid_delta: 2
};
const STEP_NAMES = {
  act_in: 'read',
  q: 'heads',
  k: 'heads',
  v: 'heads',
  post_act: 'neurons',
  resid_delta: 'write'
};
const LAST = 1e6;

function columnKey(node) {
  if (node.kind === 'embedding')
    return -1;
  if (node.kind === 'unembedding')
    return LAST;
  return 6 * node.layer + (node.site.includes('.mlp.') ? 3 : 0) + (STEPS[siteEnd(node.site)] || 0);
}

function blockName(node) {
  if (node.kind !== 'node')
    return node.kind === 'embedding' ? 'Embedding' : 'Unembedding';
  return 'Layer ' + node.layer + (node.site.includes('.mlp.') ? ' MLP' : ' attention');
}

function stepName(node) {
  if (node.kind !== 'node')
    return node.kind === 'embedding' ? 'tokens' : 'logits';
  return STEP_NAMES[siteEnd(node.site)];
}

// Each a list of units from top to bottom; a unit is one node, or the nodes of one head.
function makeColumns() {
  const byKey = new Map();
  for (const node of nodes) {
    const key = columnKey(node);
    if (!byKey.has(key))
      byKey.set(key, {key, block: blockName(node), step: stepName(node), units: new Map()});
    const column = byKey.get(key);
    const unit = node.head === undefined ? 'node ' + node.index : 'head ' + node.head;
    if (!column.units.has(unit))
      column.units.set(unit, {head: node.head, nodes: [], y: 0, height: 0});
    column.units.get(unit).nodes.push(node);
  }
  const columns = [...byKey.values()].sort((a, b) => a.key - b.key);
  columns.forEach((column, i) => {
    column.units = [...column.units.values()];
    for (const unit of column.units)
      for (const node of unit.nodes)
        node.column = i;
  });
  return columns;
}
