// The attention of a channel's head over a prompt: where each token looks, and what this channel has to
// do with it.

function attentionOf(prompt, node) {
  const triangle = prompt.attention[node.layer + '.' + node.head];
  if (!triangle)
    return null;
  return (row, column) => column > row ? 0 : triangle[row * (row + 1) / 2 + column] / 1000;
}

// Of queries and keys: this channel's part of the score; of values: what it carries.
function shareOf(prompt, node) {
  const own = prompt.values[node.name], site = siteEnd(node.site),
        probability = attentionOf(prompt, node);
  if (site === 'v')
    return probability ? (row, column) => probability(row, column) * own[column] : null;
  const partner = prompt.partners[node.name], scale = Math.sqrt(data.circuits[0].model.d_head || 1);
  return (row, column) => column > row ?
    0 :
    (site === 'q' ? own[row] * partner[column] : partner[row] * own[column]) / scale;
}

function largestOf(values, n) {
  let most = 0;
  for (let row = 0; row < n; row++)
    for (let column = 0; column <= row; column++)
      most = Math.max(most, Math.abs(values(row, column)));
  return most;
}

function paintHeat(canvas, values, n, largest, row) {
  const cell = Math.max(2, Math.floor(300 / n)),
        density = Math.max(1, Math.round(window.devicePixelRatio || 1));
  canvas.width = canvas.height = cell * n * density;
  canvas.style.width = cell * n + 'px';
  const pen = canvas.getContext('2d');
  pen.scale(density, density);
  for (let i = 0; i < n; i++)
    for (let k = 0; k <= i; k++) {
      const value = values(i, k);
      pen.globalAlpha = 0.06;
      pen.fillStyle = picture.colors.ink;
      pen.fillRect(k * cell, i * cell, cell, cell);
      pen.globalAlpha = largest ? Math.pow(Math.min(1, Math.abs(value) / largest), 0.7) : 0;
      pen.fillStyle = value < 0 ? picture.colors.minus : picture.colors.plus;
      pen.fillRect(k * cell, i * cell, cell, cell);
    }
  pen.globalAlpha = 1;
  pen.strokeStyle = picture.colors.ink;
  pen.lineWidth = 1;
  pen.strokeRect(0.5, row * cell + 0.5, (row + 1) * cell - 1, Math.max(1, cell - 1));
}

function choice(name, options, change) {
  const made = element(
    'select', {'aria-label': name}, options.map(([value, text]) => element('option', {value}, text)));
  made.addEventListener('change', () => change(made.value));
  return made;
}

function tokenName(token) {
  return '“' + visible(tokenText(token)) + '”';
}

// Paints what is chosen in the parts of a view.
function showAttention(parts) {
  const {prompt, node, row} = parts, tokens = prompt.tokens, seen = tokens.slice(0, row + 1);
  parts.values = parts.kind === 'share' ? shareOf(prompt, node) : attentionOf(prompt, node);
  const largest = largestOf(parts.values, tokens.length);
  parts.slider.max = tokens.length - 1;
  parts.slider.value = row;
  parts.slider.setAttribute('aria-valuetext', tokenName(tokens[row]));
  paintHeat(parts.heat, parts.values, tokens.length, largest, row);
  put(parts.line, element('span', {class: 'quiet'}, tokenName(tokens[row]) + ' looks at '),
    tokenLine(seen, seen.map((token, i) => parts.values(row, i)), largest, {at: row}));
}

// The row and column of the heat map under the pointer; it may be drawn smaller than it is.
function heatPlace(parts, event) {
  const box = parts.heat.getBoundingClientRect(), n = parts.prompt.tokens.length;
  const place = share => Math.max(0, Math.min(n - 1, Math.floor(share * n)));
  return {
    row: place((event.clientY - box.top) / box.height),
    column: place((event.clientX - box.left) / box.width)
  };
}

function onHeatMove(parts, event) {
  const {row, column} = heatPlace(parts, event), tokens = parts.prompt.tokens;
  if (column > row)
    return hideTip();
  const text =
    tokenName(tokens[row]) + ' → ' + tokenName(tokens[column]) + '  ' + short(parts.values(row, column));
  return showTip(text, event.clientX, event.clientY);
}

function chooseAttention(parts, changes) {
  Object.assign(parts, changes);
  parts.row = Math.min(parts.row, parts.prompt.tokens.length - 1);
  showAttention(parts);
}

function attentionPickers(parts, prompts) {
  const carried = siteEnd(parts.node.site) === 'v';
  const kinds = [
    ['probability', 'attention of the head'],
    ['share', carried ? 'what this channel carries' : 'this channel’s part of the score']
  ];
  const names =
    prompts.map(prompt => [data.prompts.indexOf(prompt), promptName(data.prompts.indexOf(prompt))]);
  return element('div', {class: 'pickers'},
    choice('Prompt', names,
      value => chooseAttention(parts, {prompt: data.prompts[Number(value)], row: Infinity})),
    choice('What is shown', kinds, value => chooseAttention(parts, {kind: value})));
}

function attentionView(node) {
  const prompts = data.prompts.filter(prompt => attentionOf(prompt, node));
  if (!prompts.length)
    return data.prompts.length ? element('p', {class: 'quiet'}, 'Of this head no attention is kept.') :
                                 null;
  const parts = {
    node,
    prompt: prompts[0],
    kind: 'probability',
    row: prompts[0].tokens.length - 1,
    heat: element('canvas', {class: 'heat', 'aria-hidden': true}),
    line: element('p', {class: 'looks'}),
    slider: element('input', {type: 'range', min: 0, 'aria-label': 'Token that looks'}),
  };
  parts.heat.addEventListener('pointermove', event => onHeatMove(parts, event));
  parts.heat.addEventListener('pointerleave', hideTip);
  parts.heat.addEventListener(
    'click', event => chooseAttention(parts, {row: heatPlace(parts, event).row}));
  parts.slider.addEventListener(
    'input', () => chooseAttention(parts, {row: Number(parts.slider.value)}));
  showAttention(parts);
  return element(
    'div', {class: 'attention'}, attentionPickers(parts, prompts), parts.heat, parts.slider, parts.line);
}
