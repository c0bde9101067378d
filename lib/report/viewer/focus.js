// What is selected, and what of the graph is bright for it: neighbours, all up and down, or one traced
// path.

function reachFrom(node, side) {
  const seen = new Set([node]), found = new Set();
  for (const here of seen)
    for (const edge of here[side])
      if (isVisible(edge)) {
        found.add(edge);
        seen.add(side === 'into' ? edge.from : edge.to);
      }
  return found;
}

function edgesAround(node) {
  if (state.reach === 'far')
    return new Set([...reachFrom(node, 'into'), ...reachFrom(node, 'out')]);
  return new Set(node.into.concat(node.out).filter(isVisible));
}

// Names of nodes in a path's text, which reads "token x → node → ... → logit y − logit z".
function pathNodes(path) {
  return path.text.split(' → ').map(part => nodeByName.get(part)).filter(Boolean);
}

// A token as the paths write it.
function pathText(token) {
  return tokenText(token).replace(/ /g, '␣').replace(/\n/g, '\\n').replace(/\t/g, '\\t');
}

function pathEdges(path) {
  const chain = pathNodes(path), found = new Set();
  for (let i = 0; i + 1 < chain.length; i++)
    for (const edge of chain[i].out)
      if (edge.to === chain[i + 1])
        found.add(edge);
  const token = /^token ([\s\S]*?) → /.exec(path.text);
  for (const edge of chain.length ? chain[0].into : [])
    if (edge.kind === 'embedding' && token && pathText(edge.from.token) === token[1])
      found.add(edge);
  for (const edge of chain.length ? chain[chain.length - 1].out : [])
    if (edge.kind === 'unembedding')
      found.add(edge);
  return found;
}

function brightEdges() {
  if (state.path)
    return pathEdges(state.path);
  const node = state.hovered || state.selected;
  return node ? edgesAround(node) : new Set();
}

// Gives a class to these nodes and takes it from those that had it; of thousands few change.
const marked = {
  near: new Set(),
  selected: new Set()
};

function mark(set, name) {
  for (const node of marked[name])
    if (!set.has(node))
      node.drawn.classList.remove(name);
  for (const node of set)
    node.drawn.classList.add(name);
  marked[name] = set;
}

function showFocus() {
  const bright = picture.bright = brightEdges();
  const near = new Set();
  for (const edge of bright)
    near.add(edge.from).add(edge.to);
  const steady = Boolean(state.path || state.selected);
  mark(near, 'near');
  mark(new Set(state.selected ? [state.selected] : []), 'selected');
  byId('graph').classList.toggle(
    'dimmed', steady && (state.path !== null || !state.hovered || state.hovered === state.selected));
  drawBright();
}

function rove(node) {
  for (const each of byId('graph').querySelectorAll('[tabindex="0"]'))
    each.setAttribute('tabindex', -1);
  if (node)
    node.drawn.setAttribute('tabindex', 0);
}

function select(node) {
  state.selected = node;
  state.path = null;
  byId('path').value = '';
  rove(node || nodes[0]);
  showFocus();
  announce('selected', node);
}

function selectPath(index) {
  state.path = index === '' ? null : data.circuits[0].paths[Number(index)];
  showFocus();
  if (state.path)
    say('Path: ' + state.path.text);
}

function hover(node) {
  if (state.hovered === node)
    return;
  state.hovered = node;
  showFocus();
}

function nodeOf(target) {
  const found = target.closest ? target.closest('.node') : null;
  return found ? nodes[Number(found.dataset.index)] : null;
}

function edgeTip(edge) {
  const loss = delta(edge);
  const parts = [edge.from.name + ' → ' + edge.to.name];
  if (edge.kind === 'link')
    parts.push('the same residual channel');
  else
    parts.push((edge.kind === 'edge' ? 'weight ' : 'entry ') + signed(edge.weight));
  if (loss)
    parts.push('loss ' + nats(loss.loss) + ' nats without it');
  return parts.join('\n');
}

function nodeTip(node) {
  const loss = delta(node);
  return [
    node.name, node.label, describe(node), loss ? 'loss ' + nats(loss.loss) + ' nats without it' : ''
  ].filter(Boolean)
    .join('\n');
}

function onGraphMove(event) {
  if (gesture.pointers.size && gesture.moved)
    return hideTip();
  const node = nodeOf(event.target);
  hover(node);
  if (node)
    return showTip(nodeTip(node), event.clientX, event.clientY);
  const place = pointerPlace(event);
  const edge = edgeAt((place.x - view.x) / view.scale, (place.y - view.y) / view.scale);
  if (edge)
    return showTip(edgeTip(edge), event.clientX, event.clientY);
  return hideTip();
}

function makeFocus() {
  const figure = byId('figure');
  figure.addEventListener('pointermove', onGraphMove);
  figure.addEventListener('pointerleave', () => {
    hover(null);
    hideTip();
  });
  figure.addEventListener('click', event => {
    if (!gesture.moved)
      select(nodeOf(event.target));
  });
  byId('reach').addEventListener('change', event => {
    state.reach = event.target.value;
    showFocus();
  });
  const paths = data.circuits[0].paths || [];
  byId('path-field').hidden = paths.length === 0;
  paths.forEach((path, i) => byId('path').append(element(
                  'option', {value: i}, (i + 1) + ': ' + logits(path.contribution) + ' logits')));
  byId('path').addEventListener('change', event => selectPath(event.target.value));
  listen('drawn', () => {
    rove(state.selected || nodes[0]);
    showFocus();
  });
}
