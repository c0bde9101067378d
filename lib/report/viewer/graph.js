// Draws the nodes, as elements that can be reached by keyboard, and puts the picture together.

const view = {
  x: 0,
  y: 0,
  scale: 1,
  width: 0,
  height: 0
};
const picture = {
  width: 0,
  height: 0,
  columns: [],
  largest: {},
  dashes: true,
  colors: {},
  slow: false
};

function isMember(thing) {
  if (state.members === 'shared')
    return thing.members === 3;
  return state.members === '3' || thing.members === Number(state.members);
}

function isVisible(edge) {
  return edge.shown && isMember(edge.from) && isMember(edge.to);
}

function largestWeight(list) {
  return list.reduce((most, edge) => Math.max(most, Math.abs(edge.weight)), 0) || 1;
}

function nodeLabel(node) {
  const parts = [node.name, describe(node)];
  if (node.label)
    parts.push(node.label);
  parts.push(counted(node.into.length, 'edge') + ' in', counted(node.out.length, 'edge') + ' out');
  const loss = delta(node);
  if (loss)
    parts.push('loss ' + nats(loss.loss) + ' nats when ablated');
  if (data.circuits.length > 1 && node.kind === 'node')
    parts.push(['', 'first circuit only', 'second circuit only', 'in both circuits'][node.members]);
  return parts.join(', ');
}

function memberClass(node) {
  return data.circuits.length < 2 || node.kind !== 'node' ?
    '' :
    ' ' + ['', 'first', 'second', 'shared'][node.members];
}

function drawNode(node, worst) {
  const loss = delta(node);
  const strength = loss && worst > 0 ? Math.max(0, loss.loss) / worst : 0;
  const body = drawn('rect', {
    x: node.x,
    y: node.y - PILL / 2,
    width: node.width,
    height: PILL,
    rx: node.kind === 'node' ? 4 : PILL / 2
  });
  body.style.setProperty('--strength', strength.toFixed(3));
  const text = drawn('text', {x: node.x + node.width / 2, y: node.y + 4});
  text.textContent = nodeText(node);
  node.drawn = drawn('g', {
    class: 'node ' + node.kind + (strength > 0.5 ? ' strong' : '') + memberClass(node),
    tabindex: -1,
    role: 'button',
    'aria-label': nodeLabel(node),
    'data-index': node.index
  },
    body, text);
  return node.drawn;
}

function drawHead(unit) {
  if (unit.head === undefined)
    return null;
  const left = Math.min(...unit.nodes.map(node => node.x)) - 7;
  const right = Math.max(...unit.nodes.map(node => node.x + node.width)) + 7;
  const text = drawn('text', {class: 'head-name', x: left + 7, y: unit.y + 12});
  text.textContent = 'head ' + unit.head;
  const width = Math.max(right - left, 58);
  return [drawn('rect', {class: 'head', x: left, y: unit.y, width, height: unit.height, rx: 6}), text];
}

function drawHeadings() {
  const made = [];
  for (let i = 0, end; i < picture.columns.length; i = end) {
    const first = picture.columns[i];
    for (end = i; end < picture.columns.length && picture.columns[end].block === first.block; end++) {
      const column = picture.columns[end];
      const step = drawn('text', {class: 'step', x: column.x + column.width / 2, y: 36});
      step.textContent = column.step;
      made.push(step);
    }
    const last = picture.columns[end - 1];
    const block = drawn('text', {class: 'block', x: first.x, y: 12});
    block.textContent = first.block;
    made.push(
      block, drawn('line', {class: 'rule', x1: first.x, x2: last.x + last.width, y1: 19, y2: 19}));
  }
  return made;
}

function drawNodes() {
  const worst = nodes.reduce((most, node) => Math.max(most, delta(node) ? delta(node).loss : 0), 0);
  const units = picture.columns.flatMap(column => column.units);
  const layer = drawn('g', {id: 'layer'});
  put(layer, drawHeadings(), units.map(drawHead).flat().filter(Boolean),
    units.flatMap(unit => unit.nodes.map(node => drawNode(node, worst))));
  put(byId('graph'), layer);
}

function moveLayer() {
  byId('layer').setAttribute(
    'transform', 'translate(' + view.x + ' ' + view.y + ') scale(' + view.scale + ')');
  byId('graph').classList.toggle('far', view.scale < 0.5);
}

function redraw() {
  drawEdges(() => {
    gesture.base = null;
    byId('stage').style.transform = '';
    moveLayer();
    drawBright();
  });
}

function layOut() {
  picture.columns = makeColumns();
  orderColumns(picture.columns);
  Object.assign(picture, placeColumns(picture.columns));
}

function makeGraph() {
  layOut();
  picture.dashes = edges.length <= MOST_DASHED;
  picture.dottedLinks = links.length <= MOST_DOTTED;
  picture.largest = {
    edge: largestWeight(edges),
    embedding: largestWeight(tokenLinks.filter(e => e.kind === 'embedding')),
    unembedding: largestWeight(tokenLinks.filter(e => e.kind === 'unembedding'))
  };
  picture.byWeight = [...edges].sort((a, b) => Math.abs(a.weight) - Math.abs(b.weight));
  for (const edge of edges.concat(links, tokenLinks))
    edge.shown = true;
  readColors();
  drawNodes();
}

// The text of a node has changed: widths and places follow.
function relabel() {
  measure();
  placeAcross(picture.columns);
  Object.assign(picture, frame(picture.columns));
  drawNodes();
  announce('drawn');
  refreshEdges();
  moveLayer();
}
