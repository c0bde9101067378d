// Draws the graph: nodes as elements that can be reached by keyboard, edges on a canvas below them.

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
const MOST_DASHED = 1500, MOST_DOTTED = 400;  // dashes take a canvas long
const AT_ONCE = 2500, SLICE = 12;             // edges; milliseconds
const VEIL = 0.78;
const THICKEST = 4.6, THICKEST_ENTRY = 2.4, THINNEST = 0.9;

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

// ------------------------------------------------------------------ nodes

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

// ------------------------------------------------------------------ edges

// Colours as the style sheet has them, resolved for a canvas.
function readColors() {
  const probe = element('span', {class: 'probe'});
  document.body.append(probe);
  for (const name of ['plus', 'minus', 'faint', 'ink', 'paper']) {
    probe.style.setProperty('color', 'var(--' + name + ')');
    picture.colors[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}

function ends(edge) {
  return {x1: edge.from.x + edge.from.width, y1: edge.from.y, x2: edge.to.x, y2: edge.to.y};
}

function edgeWidth(edge) {
  if (edge.kind === 'link')
    return 1.2;
  const share = Math.abs(edge.weight) / picture.largest[edge.kind];
  return THINNEST + ((edge.kind === 'edge' ? THICKEST : THICKEST_ENTRY) - THINNEST) * share;
}

function edgeColor(edge) {
  if (edge.kind === 'link')
    return picture.colors.faint;
  return edge.weight < 0 ? picture.colors.minus : picture.colors.plus;
}

function edgeDash(edge) {
  if (edge.kind === 'link')
    return picture.dottedLinks ? [1.5, 4] : [];
  return edge.weight < 0 && picture.dashes ? [7, 4] : [];
}

function stroke(pen, edge, opacity) {
  const {x1, y1, x2, y2} = ends(edge);
  const reach = 0.42 * (x2 - x1);
  pen.globalAlpha = opacity;
  pen.strokeStyle = edgeColor(edge);
  pen.lineWidth = edgeWidth(edge);
  if (picture.dashes || picture.dottedLinks)
    pen.setLineDash(edgeDash(edge));
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.bezierCurveTo(x1 + reach, y1, x2 - reach, y2, x2, y2);
  pen.stroke();
}

function allEdges() {
  return links.concat(tokenLinks, picture.byWeight);
}

function preparePen(canvas) {
  const density = Math.max(1, window.devicePixelRatio || 1) * (picture.printing ? 2 : 1);
  const width = Math.round(view.width * density), height = Math.round(view.height * density);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.setTransform(density * view.scale, 0, 0, density * view.scale, density * view.x, density * view.y);
  pen.lineCap = 'butt';
  return pen;
}

// What lies outside of the window is left out.
function isInside(edge) {
  const {x1, y1, x2, y2} = ends(edge);
  const left = -view.x / view.scale, top = -view.y / view.scale;
  return x2 >= left && x1 <= left + view.width / view.scale && Math.max(y1, y2) >= top - 5 &&
    Math.min(y1, y2) <= top + view.height / view.scale + 5;
}

function edgeOpacity(edge) {
  if (edge.kind === 'link')
    return picture.dottedLinks ? 0.9 : 0.25;
  return edge.kind !== 'edge' ? 0.55 : edges.length > 4000 ? 0.28 : edges.length > 600 ? 0.5 : 0.85;
}

// Few edges are drawn at once. Many are drawn aside, a slice in each frame, so that the page goes on
// answering; what was there before stays until they are done.
function drawEdges(done) {
  const list = picture.drawn.filter(isInside), canvas = byId('edges');
  picture.slow = list.length > AT_ONCE || nodes.length > 400;
  if (list.length <= AT_ONCE || picture.printing) {
    picture.job = null;
    const pen = preparePen(canvas);
    list.forEach(edge => stroke(pen, edge, edgeOpacity(edge)));
    if (done)
      done();
    return;
  }
  if (!picture.spare)
    picture.spare = document.createElement('canvas');
  const job = picture.job = {list, at: 0, pen: preparePen(picture.spare), done};
  requestAnimationFrame(() => drawSlice(job));
}

function drawSlice(job) {
  if (picture.job !== job)
    return;
  const end = performance.now() + SLICE;
  while (job.at < job.list.length && performance.now() < end)
    for (const last = Math.min(job.list.length, job.at + 64); job.at < last; job.at++)
      stroke(job.pen, job.list[job.at], edgeOpacity(job.list[job.at]));
  if (job.at < job.list.length) {
    requestAnimationFrame(() => drawSlice(job));
    return;
  }
  picture.job = null;
  const canvas = byId('edges');
  canvas.width = picture.spare.width;
  canvas.height = picture.spare.height;
  canvas.getContext('2d').drawImage(picture.spare, 0, 0);
  if (job.done)
    job.done();
  if (picture.again) {
    picture.again = false;
    drawEdges();
  }
}

// The bright edges over a veil that takes the others back.
function drawBright() {
  const pen = preparePen(byId('bright')), bright = [...picture.bright || []].filter(isVisible);
  if (picture.bright && picture.bright.size) {
    pen.save();
    pen.resetTransform();
    pen.globalAlpha = VEIL;
    pen.fillStyle = picture.colors.paper;
    pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
    pen.restore();
  }
  bright.forEach(edge => stroke(pen, edge, 1));
}

// Called when what is to be seen of the edges has changed, not when only the window moved.
function refreshEdges() {
  picture.drawn = allEdges().filter(isVisible);
  const touched = new Set();
  for (const edge of picture.drawn)
    touched.add(edge.from).add(edge.to);
  for (const node of nodes) {
    node.drawn.classList.toggle('gone', !isMember(node));
    node.drawn.classList.toggle('idle', state.least > 0 && !touched.has(node));
  }
  if (picture.job && !picture.job.done)
    picture.again = true;
  else
    drawEdges();
  drawBright();
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
function relabel(node) {
  placeAcross((measure(), picture.columns));
  Object.assign(picture, frame(picture.columns));
  node.drawn.setAttribute('aria-label', nodeLabel(node));
  const selected = state.selected;
  drawNodes();
  announce('drawn', selected);
  refreshEdges();
  moveLayer();
}

// The edge under a point of the picture. All curves have horizontal ends, so between two columns the
// height follows from the same parameter for each.
function edgeAt(x, y) {
  let found = null, nearest = 6 / view.scale;
  for (const edge of picture.drawn) {
    const {x1, y1, x2, y2} = ends(edge);
    if (x < x1 || x > x2 || y < Math.min(y1, y2) - 8 || y > Math.max(y1, y2) + 8)
      continue;
    const t = parameter((x - x1) / (x2 - x1));
    const distance = Math.abs(y1 + (y2 - y1) * t * t * (3 - 2 * t) - y);
    if (distance <= nearest) {
      nearest = distance;
      found = edge;
    }
  }
  return found;
}

// Solves 3 (1 - t)^2 t 0.42 + 3 (1 - t) t^2 0.58 + t^3 = share.
function parameter(share) {
  let low = 0, high = 1;
  for (let i = 0; i < 14; i++) {
    const t = (low + high) / 2;
    const x = 3 * (1 - t) * (1 - t) * t * 0.42 + 3 * (1 - t) * t * t * 0.58 + t * t * t;
    if (x < share)
      low = t;
    else
      high = t;
  }
  return low;
}
