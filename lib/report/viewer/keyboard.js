// Keys: arrows walk from node to node, / searches, + - 0 zoom, Escape lets go.

function center(node) {
  return {x: node.x + node.width / 2, y: node.y};
}

// Left and right follow edges where there are any, to the strongest; up and down stay in the column.
function neighbour(node, key) {
  if (key === 'ArrowLeft' || key === 'ArrowRight') {
    const list = (key === 'ArrowLeft' ? node.into : node.out).filter(isVisible);
    const strongest = list.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))[0];
    if (strongest)
      return key === 'ArrowLeft' ? strongest.from : strongest.to;
  }
  const here = center(node),
        along = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[key];
  let best = null, least = Infinity;
  for (const other of nodes) {
    if (other === node || !isMember(other) || (along[1] && other.column !== node.column))
      continue;
    const there = center(other), x = there.x - here.x, y = there.y - here.y;
    const ahead = x * along[0] + y * along[1], aside = Math.abs(x * along[1]) + Math.abs(y * along[0]);
    if (ahead > 1 && ahead + 2 * aside < least) {
      least = ahead + 2 * aside;
      best = other;
    }
  }
  return best;
}

function onNodeKey(event) {
  const node = nodeOf(event.target);
  if (!node)
    return;
  if (event.key.startsWith('Arrow')) {
    const next = neighbour(node, event.key);
    event.preventDefault();
    if (next) {
      rove(next);
      reveal(next);
      next.drawn.focus();
    }
  } else if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    select(node);
    node.drawn.focus();
  }
}

function isTyping(target) {
  return /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey)
    return;
  if (event.key === 'Escape') {
    hideTip();
    const held = state.selected;
    select(null);
    if (held && !isTyping(event.target))
      held.drawn.focus();
  } else if (isTyping(event.target)) {
    return;
  } else if (event.key === '/') {
    event.preventDefault();
    openView('graph');
    byId('search').focus();
  } else if (event.key === '+' || event.key === '=') {
    zoomStep(1.4);
  } else if (event.key === '-') {
    zoomStep(1 / 1.4);
  } else if (event.key === '0') {
    fitAll();
  }
}

function makeKeyboard() {
  byId('graph').addEventListener('keydown', onNodeKey);
  byId('graph').addEventListener('focusin', event => hover(nodeOf(event.target)));
  byId('graph').addEventListener('focusout', () => hover(null));
  document.addEventListener('keydown', onKey);
}
