// The card of a node: what is said about it, its edges, what it does over text and on the task's
// prompts.

const FIRST_EDGES = 12, FIRST_LINKS = 8, FIRST_CONTEXTS = 5;

function promptName(index) {
  const prompt = data.prompts[index], same = data.prompts.filter(each => each.task === prompt.task);
  const place = same.indexOf(prompt);
  return (data.prompts.some(each => each.task !== prompt.task) ? data.tasks[prompt.task] + ' ' : '') +
    'pair ' + (1 + Math.floor(place / 2)) + ' ' + (place % 2 ? 'B' : 'A');
}

function section(title, ...children) {
  const filled = children.flat(Infinity).filter(Boolean);
  return filled.length ? element('section', {}, element('h3', {}, title), filled) : null;
}

// A list that begins with a few and opens to all.
function longList(items, first, make, tag = 'ul') {
  const list = element(tag, {}, items.slice(0, first).map(make));
  if (items.length <= first)
    return list;
  const more = button('more', () => {
    list.append(...items.slice(first).map(make));
    more.remove();
  }, 'Show all ' + items.length);
  return [list, more];
}

function nodeButton(node) {
  const open = () => {
    select(node);
    reveal(node);
    byId('card').focus();
  };
  return button('link', open, node.kind === 'node' ? node.name : '“' + node.text + '”');
}

function weightBar(weight, largest) {
  const share = Math.min(1, Math.abs(weight) / (largest || 1));
  return element(
    'span', {class: 'bar ' + (weight < 0 ? 'minus' : 'plus'), style: {'--share': share.toFixed(3)}});
}

function edgeHead(side) {
  const head = (text, kind) => element('th', {scope: 'col', class: kind}, text);
  return element('thead', {},
    element('tr', {}, head(side === 'into' ? 'From' : 'To'), head('Weight', 'number'),
      head(element('span', {class: 'hidden-text'}, 'Size')), head('Δ loss', 'number')));
}

function edgeList(node, side) {
  const far = edge => side === 'into' ? edge.from : edge.to;
  const list = node[side]
                 .filter(edge => edge.kind !== 'link')
                 .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  const other = node[side].filter(edge => edge.kind === 'link');
  const largest = list.reduce((most, edge) => Math.max(most, Math.abs(edge.weight)), 0);
  const rows = longList(list, FIRST_EDGES,
    edge => element('tr', {},
      element('td', {}, nodeButton(far(edge)),
        far(edge).label ? element('span', {class: 'quiet'}, ' ' + far(edge).label) : null),
      element('td', {class: 'number'}, weightText(edge.weight)),
      element('td', {class: 'bars'}, weightBar(edge.weight, largest)),
      element('td', {class: 'number'}, delta(edge) ? nats(delta(edge).loss) : '')),
    'tbody');
  const body = Array.isArray(rows) ? rows : [rows];
  const made = [];
  if (list.length)
    made.push(element('table', {class: 'edges'}, edgeHead(side), body[0]), body[1]);
  if (other.length)
    made.push(element('p', {class: 'quiet'},
      side === 'into' ? 'Channel also written by ' : 'Channel read later by ',
      other.slice(0, FIRST_LINKS).flatMap((edge, i) => [i ? ', ' : '', nodeButton(far(edge))]),
      other.length > FIRST_LINKS ? ' and ' + (other.length - FIRST_LINKS) + ' more' : ''));
  return section(
    (side === 'into' ? 'Incoming edges' : 'Outgoing edges') + (list.length ? ' · ' + list.length : ''),
    made);
}

function sayings(node) {
  const label = element('input', {type: 'text', id: 'label', maxlength: 1024, value: node.label});
  const note = element('textarea', {id: 'note', rows: node.note ? 4 : 2}, node.note);
  label.placeholder = 'what it does, in a few words';
  label.addEventListener('change', () => setText(node, 'label', label.value));
  note.addEventListener('change', () => setText(node, 'note', note.value));
  return element(
    'div', {class: 'sayings'}, element('label', {}, 'Label', label), element('label', {}, 'Note', note));
}

function figuresOf(node) {
  const rows = [];
  node.deltas.forEach((loss, i) => {
    if (loss && Number.isFinite(loss.loss))
      rows.push(element('p', {class: 'effect'}, element('strong', {}, nats(loss.loss)),
        ' nats of loss without it',
        data.circuits.length > 1 ? ' (' + (i ? 'second' : 'first') + ' circuit)' : '',
        element('span', {class: 'quiet'}, '  uncalibrated ' + nats(loss.raw))));
  });
  return rows;
}

function scaleOf(node) {
  const evidence = data.evidence[node.name];
  const values = data.prompts.flatMap(prompt => prompt.values[node.name] || []);
  return Math.max(1e-12, ...values.map(Math.abs),
    ...(evidence ? [Math.abs(evidence.minimum), Math.abs(evidence.maximum)] : []));
}

function contextList(title, contexts, largest) {
  if (!contexts || !contexts.length)
    return null;
  return section(title,
    longList(contexts, FIRST_CONTEXTS,
      context => element('li', {class: 'context'},
        element('span',
          {class: 'value', 'data-tip': 'document ' + context.document + ', token ' + context.position},
          short(context.values[context.at])),
        tokenLine(context.tokens, context.values, largest, {at: context.at})),
      'ul'));
}

function valuesSection(node) {
  const evidence = data.evidence[node.name];
  if (!evidence)
    return null;
  const zero = 100 * evidence.n_zero / Math.max(1, evidence.n_tokens);
  return section('Values over text', histogram(evidence),
    element('p', {class: 'quiet'},
      counted(evidence.n_tokens, 'token') + ' · ' + short(zero) + ' % zero · ' +
        short(evidence.minimum) + ' to ' + short(evidence.maximum) + ' · mean ' + short(evidence.mean) +
        ', deviation ' + short(evidence.deviation) + '. Heights as square roots.'));
}

function promptList(node, largest) {
  if (!data.prompts.length || !data.prompts[0].values[node.name])
    return null;
  return section('On the task’s prompts',
    longList(data.prompts, 2,
      prompt => element('li', {class: 'prompt'},
        element('p', {class: 'quiet'}, promptName(data.prompts.indexOf(prompt)) + ', answer ',
          element('span', {class: 'chip'}, visible(tokenText(prompt.targets[0])))),
        tokenLine(prompt.tokens, prompt.values[node.name], largest,
          {breaks: true, at: prompt.tokens.length - 1}))));
}

function tokenTable(node, table) {
  const entry = data.channels[node.channel] && data.channels[node.channel][table];
  if (!entry || !/act_in|resid/.test(siteEnd(node.site)))
    return null;
  const tokens = pairsOf(entry.list), largest = Math.max(...tokens.map(each => Math.abs(each.weight)));
  const title =
    table === 'embedding' ? 'Tokens that write to the channel' : 'Tokens whose logits read the channel';
  return section(title + ' · ' + entry.n,
    longList(tokens, 8,
      each => element('li', {class: 'entry'},
        element('span', {class: 'chip'}, visible(tokenText(each.token))),
        element('span', {class: 'number'}, weightText(each.weight)), weightBar(each.weight, largest))));
}

function tokenCard(node) {
  const list = node.into.concat(node.out);
  return [
    element('p', {class: 'kind'}, describe(node)), element('h2', {}, '“' + node.text + '”'),
    element('p', {class: 'quiet'}, 'token ' + node.token),
    edgeList(node, list.length && list[0].to === node ? 'into' : 'out')
  ];
}

function nodeCard(node) {
  const largest = scaleOf(node), evidence = data.evidence[node.name] || {};
  return [
    element('p', {class: 'kind'}, describe(node)),
    element('h2', {class: 'name'}, node.name),
    data.circuits.length > 1 ? element('p', {class: 'quiet'}, membership(node)) : null,
    figuresOf(node),
    sayings(node),
    edgeList(node, 'into'),
    edgeList(node, 'out'),
    promptList(node, largest),
    node.head !== undefined ? section('Attention of head ' + node.head, attentionView(node)) : null,
    valuesSection(node),
    contextList('Largest values', evidence.top, largest),
    contextList('Smallest values', evidence.bottom, largest),
    contextList('At quantiles', evidence.quantiles, largest),
    tokenTable(node, 'embedding'),
    tokenTable(node, 'unembedding'),
  ];
}

function showCard(node) {
  const card = byId('card');
  card.setAttribute('aria-label', node ? 'About ' + node.name : 'About the circuit');
  if (!node) {
    put(card, overview());
    return;
  }
  const back = button('close', () => select(null), '×', {'aria-label': 'Back to the circuit'});
  put(card, [back, node.kind === 'node' ? nodeCard(node) : tokenCard(node)]);
  card.scrollTop = 0;
  say(nodeLabel(node));
}

function makeCard() {
  byId('card').setAttribute('tabindex', -1);
  listen('selected', showCard);
  showCard(null);
}
