// Draws the edges, on a canvas below the nodes, and finds the one under the pointer.

const MOST_DASHED = 1500, MOST_DOTTED = 400;  // dashes take a canvas long
const AT_ONCE = 2500, SLICE = 12;             // edges; milliseconds
const VEIL = 0.78;
const THICKEST = 4.6, THICKEST_ENTRY = 2.4, THINNEST = 0.9;

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
