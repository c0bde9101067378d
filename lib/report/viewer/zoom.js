// The window onto the picture: wheel, drag, two fingers, buttons.

const MOST_ZOOM = 4, MOST_FIT = 1.25, LEAST_NARROW = 0.72, LEAST_READABLE = 0.4, SETTLE = 120;
const gesture = {
  pointers: new Map(),
  moved: false,
  timer: 0,
  base: null,
  frame: 0
};

function sizeWindow() {
  const box = byId('figure').getBoundingClientRect();
  view.width = box.width;
  view.height = box.height;
  byId('graph').setAttribute('width', view.width);
  byId('graph').setAttribute('height', view.height);
}

function leastZoom() {
  return Math.min(1, 0.5 * Math.min(view.width / picture.width, view.height / picture.height));
}

function fitAll() {
  const margin = view.width < 500 ? 12 : 28;
  const scale = Math.min(
    (view.width - 2 * margin) / picture.width, (view.height - 2 * margin) / picture.height, MOST_FIT);
  view.scale =
    view.width < NARROW && nodes.length < 100 ? Math.max(scale, LEAST_NARROW) : Math.max(scale, 0.02);
  view.x = Math.max(margin, (view.width - picture.width * view.scale) / 2);
  view.y = (view.height - picture.height * view.scale) / 2;
  redraw();
}

// At the start a picture too wide to read as a whole is shown from its left end, in its full height.
function fitFirst() {
  fitAll();
  const figure = byId('figure'), lower = Math.round(picture.height * view.scale + 44);
  if (view.width < NARROW && lower < view.height - 8) {
    figure.style.height = Math.max(260, lower) + 'px';
    sizeWindow();
    fitAll();
  }
  if (view.scale >= LEAST_READABLE)
    return;
  view.scale = Math.max(view.scale, Math.min(1, (view.height - 56) / picture.height));
  view.x = 28;
  view.y = (view.height - picture.height * view.scale) / 2;
  redraw();
}

// While a large picture moves, what has been painted is moved as it is; it is painted anew when the hand
// rests.
function showMove() {
  gesture.frame = 0;
  if (!picture.slow)
    return redraw();
  const base = gesture.base = gesture.base || Object.assign({}, view);
  const ratio = view.scale / base.scale;
  byId('stage').style.transform = 'translate(' + (view.x - base.x * ratio) + 'px,' +
    (view.y - base.y * ratio) + 'px) scale(' + ratio + ')';
  clearTimeout(gesture.timer);
  gesture.timer = setTimeout(settleMove, SETTLE);
  return undefined;
}

function settleMove() {
  clearTimeout(gesture.timer);
  redraw();
}

function moved(before) {
  picture.job = null;
  if (picture.slow && !gesture.base)
    gesture.base = before;
  if (!gesture.frame)
    gesture.frame = requestAnimationFrame(showMove);
}

function zoomAt(x, y, factor) {
  const before = Object.assign({}, view);
  const scale = Math.min(MOST_ZOOM, Math.max(leastZoom(), view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  moved(before);
}

function panBy(x, y) {
  const before = Object.assign({}, view);
  view.x += x;
  view.y += y;
  moved(before);
}

function zoomStep(factor) {
  zoomAt(view.width / 2, view.height / 2, factor);
}

// Brings a node into the window if it is not.
function reveal(node) {
  const x = view.x + view.scale * (node.x + node.width / 2), y = view.y + view.scale * node.y;
  const edge = 40;
  if (x < edge || x > view.width - edge || y < edge || y > view.height - edge) {
    if (view.scale < 0.5)
      view.scale = 0.8;
    view.x = view.width / 2 - view.scale * (node.x + node.width / 2);
    view.y = view.height / 2 - view.scale * node.y;
    settleMove();
  }
}

function pointerPlace(event) {
  const box = byId('figure').getBoundingClientRect();
  return {x: event.clientX - box.left, y: event.clientY - box.top};
}

function onPointerDown(event) {
  gesture.pointers.set(event.pointerId, pointerPlace(event));
  gesture.moved = false;
}

function onPointerMove(event) {
  const before = gesture.pointers.get(event.pointerId);
  if (!before)
    return;
  const now = pointerPlace(event);
  if (!gesture.moved && Math.hypot(now.x - before.x, now.y - before.y) < 4)
    return;
  if (!gesture.moved)
    byId('figure').setPointerCapture(event.pointerId);
  gesture.moved = true;
  if (gesture.pointers.size === 1) {
    panBy(now.x - before.x, now.y - before.y);
  } else if (gesture.pointers.size === 2) {
    const other = [...gesture.pointers].find(([id]) => id !== event.pointerId)[1];
    const factor = Math.hypot(now.x - other.x, now.y - other.y) /
      Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, factor);
  }
  gesture.pointers.set(event.pointerId, now);
}

function onPointerUp(event) {
  gesture.pointers.delete(event.pointerId);
}

function onWheel(event) {
  event.preventDefault();
  const place = pointerPlace(event);
  zoomAt(place.x, place.y, Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0015)));
}

function makeZoom() {
  const figure = byId('figure');
  figure.addEventListener('wheel', onWheel, {passive: false});
  figure.addEventListener('pointerdown', onPointerDown);
  figure.addEventListener('pointermove', onPointerMove);
  figure.addEventListener('pointerup', onPointerUp);
  figure.addEventListener('pointercancel', onPointerUp);
  byId('zoom-in').addEventListener('click', () => zoomStep(1.4));
  byId('zoom-out').addEventListener('click', () => zoomStep(1 / 1.4));
  byId('zoom-fit').addEventListener('click', fitAll);
  new ResizeObserver(() => {
    const width = view.width, height = view.height;
    sizeWindow();
    if (view.width && (view.width !== width || view.height !== height))
      fitFirst();
  }).observe(figure);
  sizeWindow();
}
