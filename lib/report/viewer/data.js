// The data of the page as nodes and edges that know one another.

const data = JSON.parse(byId('data').textContent);
unpackAll();
const nodes = [];  // of all circuits, then tokens
const nodeByName = new Map();
const edges = [];       // weights of the model
const links = [];       // a residual channel written and read later
const tokenLinks = [];  // between tokens and residual channels
const state = {
  selected: null,
  hovered: null,
  reach: 'near',
  path: null,
  least: 0,
  members: '3'
};

// Values come as a unit and multiples of it, contexts as lists.
function unpack(list) {
  return list.slice(1).map(value => value * list[0]);
}

function unpackContext([document, position, at, quantile, tokens, values]) {
  return {document, position, at, quantile, tokens, values: unpack(values)};
}

function unpackAll() {
  for (const prompt of data.prompts)
    for (const rows of [prompt.values, prompt.partners])
      for (const name of Object.keys(rows))
        rows[name] = unpack(rows[name]);
  for (const evidence of Object.values(data.evidence))
    for (const kind of ['top', 'bottom', 'quantiles'])
      evidence[kind] = evidence[kind].map(unpackContext);
}

const KINDS = {
  q: 'query channel',
  k: 'key channel',
  v: 'value channel',
  post_act: 'neuron',
  act_in: 'read from the residual stream',
  resid_delta: 'write to the residual stream',
};

function siteEnd(site) {
  return site.slice(site.lastIndexOf('.') + 1);
}

function shortName(node) {
  if (node.head !== undefined)
    return siteEnd(node.site) + ' ' + node.head_channel;
  return isPosition(node) ? 'pos ' + (node.channel - data.circuits[0].model.d_model) :
                            String(node.channel);
}

// Concatenated positions stand behind the channels of the stream.
function isPosition(node) {
  return siteEnd(node.site) === 'act_in' && node.channel >= data.circuits[0].model.d_model;
}

function addNode(raw, circuit) {
  let node = nodeByName.get(raw.name);
  if (!node) {
    node = Object.assign({}, raw, {
      index: nodes.length,
      members: 0,
      into: [],
      out: [],
      kind: 'node',
      text: shortName(raw),
      deltas: [],
      label: '',
      note: '',
    });
    nodes.push(node);
    nodeByName.set(raw.name, node);
  }
  node.members |= 1 << circuit;
  node.deltas[circuit] = raw.delta === undefined ? null : {loss: raw.delta, raw: raw.raw_delta};
  node.label = node.label || raw.label || '';
  node.note = node.note || raw.note || '';
  return node;
}

function join(list, from, to, weight, kind) {
  const edge = {from, to, weight, kind, members: 0, deltas: [], index: list.length};
  list.push(edge);
  from.out.push(edge);
  to.into.push(edge);
  return edge;
}

function addEdge(raw, circuit, known) {
  const key = raw.from + ' ' + raw.to;
  let edge = known.get(key);
  if (!edge) {
    edge = join(edges, nodeByName.get(raw.from), nodeByName.get(raw.to), raw.weight, 'edge');
    known.set(key, edge);
  }
  edge.members |= 1 << circuit;
  edge.deltas[circuit] = raw.delta === undefined ? null : {loss: raw.delta, raw: raw.raw_delta};
}

function addLinks() {
  const writes = nodes.filter(node => siteEnd(node.site) === 'resid_delta');
  const reads = new Map();
  const depth = node => 2 * node.layer + (node.site.includes('.mlp.') ? 1 : 0);
  for (const node of nodes)
    if (siteEnd(node.site) === 'act_in')
      reads.set(node.channel, (reads.get(node.channel) || []).concat(node));
  for (const from of writes)
    for (const to of reads.get(from.channel) || [])
      if (depth(to) > depth(from))
        join(links, from, to, 0, 'link').members = from.members & to.members;
}

function readCircuits() {
  const known = new Map();
  data.circuits.forEach((circuit, i) => circuit.nodes.forEach(raw => addNode(raw, i)));
  data.circuits.forEach((circuit, i) => circuit.edges.forEach(raw => addEdge(raw, i, known)));
  addLinks();
}

// ---- tokens as nodes of the graph: what writes to the channels read first, and the answers

const MOST_TOKENS = 14;
const TOKENS_PER_NODE = 3;
const MOST_JOINED = 150;  // nodes: beyond it a token is joined to the first read of a channel alone

function tokenNode(token, kind) {
  const name = (kind === 'embedding' ? 'token ' : 'logit ') + token;
  let node = nodeByName.get(name);
  if (!node) {
    node = {
      name,
      kind,
      token,
      index: nodes.length,
      members: 3,
      into: [],
      out: [],
      site: kind,
      layer: null,
      deltas: [],
      label: '',
      note: '',
      text: visible(tokenText(token)),
    };
    nodes.push(node);
    nodeByName.set(name, node);
  }
  return node;
}

function pairsOf(list) {
  const pairs = [];
  for (let i = 0; list && i + 1 < list.length; i += 2)
    pairs.push({token: list[i], weight: list[i + 1]});
  return pairs;
}

function channelTokens(channel, table) {
  const entry = data.channels[channel];
  return entry && entry[table] ? pairsOf(entry[table].list) : [];
}

// How often a token stands in the prompts A and not in B, or the other way round.
function tokenBalance() {
  const balance = new Map();
  data.prompts.forEach((prompt, i) => {
    for (const token of prompt.tokens)
      balance.set(token, (balance.get(token) || 0) + (i % 2 ? -1 : 1));
  });
  return balance;
}

// Tokens at which traced paths begin, as the paths write them.
function pathStarts() {
  const starts = new Set();
  for (const circuit of data.circuits)
    for (const path of circuit.paths || []) {
      const found = /^token ([\s\S]*?) → /.exec(path.text);
      if (found)
        starts.add(found[1]);
    }
  return starts;
}

function addEmbeddings() {
  const balance = tokenBalance(), starts = pathStarts();
  const factor = token => starts.has(pathText(token)) ? 3 :
    balance.size === 0 || balance.get(token)          ? 1 :
                                                        0.15;
  const wanted = [], read = new Set(), crowded = nodes.length > MOST_JOINED;
  for (const node of nodes.filter(each => each.kind === 'node' && siteEnd(each.site) === 'act_in')) {
    if (crowded && read.has(node.channel))
      continue;
    read.add(node.channel);
    const tokens = channelTokens(node.channel, 'embedding')
                     .filter(each => balance.size === 0 || balance.has(each.token) ||
                         starts.has(pathText(each.token)))
                     .map(each => ({
                       node,
                       token: each.token,
                       weight: each.weight,
                       score: Math.abs(each.weight) * factor(each.token)
                     }))
                     .sort((a, b) => b.score - a.score);
    wanted.push(...tokens.slice(0, TOKENS_PER_NODE).filter(each => each.score > 0.25 * tokens[0].score));
  }
  const shown = new Set();
  for (const each of wanted.sort((a, b) => b.score - a.score)) {
    if (!shown.has(each.token) && shown.size === MOST_TOKENS)
      continue;
    shown.add(each.token);
    join(tokenLinks, tokenNode(each.token, 'embedding'), each.node, each.weight, 'embedding').members =
      3;
  }
}

function addAnswers() {
  const targets = new Set();
  for (const prompt of data.prompts)
    if (targets.size < 8)
      targets.add(prompt.targets[0]);
  const writes = nodes.filter(node => node.kind === 'node' && /resid/.test(siteEnd(node.site)));
  for (const node of writes)
    for (const each of channelTokens(node.channel, 'unembedding'))
      if (targets.has(each.token))
        join(tokenLinks, node, tokenNode(each.token, 'unembedding'), each.weight, 'unembedding')
          .members = 3;
}

function delta(thing) {
  const found = thing.deltas.find(each => each && Number.isFinite(each.loss));
  return found || null;
}

function describe(node) {
  if (node.kind !== 'node')
    return node.kind === 'embedding' ? 'Token of the prompts' : 'Answer: a logit';
  const what = isPosition(node) ? 'position embedding' : KINDS[siteEnd(node.site)] || siteEnd(node.site);
  const which =
    node.head === undefined ? what : what + ' ' + node.head_channel + ' of head ' + node.head;
  return 'Layer ' + node.layer + (node.site.includes('.mlp.') ? ' MLP' : ' attention') + ' · ' + which;
}
