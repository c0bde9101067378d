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
  return cell;
}

function choice(name, options, change) {
  const made = element(
    'select', {'aria-label': name}, options.map(([value, text]) => element('option', {value}, text)));
  made.addEventListener('change', () => change(made.value));
  return made;
}

function attentionView(node) {
  const prompts =
    data.prompts.map((prompt, i) => ({prompt, i})).filter(each => attentionOf(each.prompt, node));
  if (!prompts.length)
    return data.prompts.length ?
      element('p', {class: 'quiet'}, 'Of this head no attention is kept: the circuit has too many.') :
      null;
  const site = siteEnd(node.site), box = element('div', {class: 'attention'});
  const chosen = {
    prompt: prompts[0].prompt,
    kind: 'probability',
    row: prompts[0].prompt.tokens.length - 1
  };
  const heat = element('canvas', {class: 'heat', 'aria-hidden': true}),
        line = element('p', {class: 'looks'});
  const names = {
    probability: 'attention of the head',
    share: site === 'v' ? 'what this channel carries' : 'this channel’s part of the score'
  };
  const slider = element('input', {type: 'range', min: 0, 'aria-label': 'Token that looks'});
  let cell = 1, values = null;
  function show() {
    const tokens = chosen.prompt.tokens, n = tokens.length;
    values = chosen.kind === 'share' ? shareOf(chosen.prompt, node) : attentionOf(chosen.prompt, node);
    const largest = largestOf(values, n);
    slider.max = n - 1;
    slider.value = chosen.row;
    slider.setAttribute('aria-valuetext', visible(tokenText(tokens[chosen.row])));
    cell = paintHeat(heat, values, n, largest, chosen.row);
    const row = tokens.map((token, i) => values(chosen.row, i));
    put(line,
      element('span', {class: 'quiet'}, '“' + visible(tokenText(tokens[chosen.row])) + '” looks at '),
      tokenLine(tokens.slice(0, chosen.row + 1), row.slice(0, chosen.row + 1), largest,
        {at: chosen.row, breaks: false}));
  }
  heat.addEventListener('pointermove', event => {
    const at = heat.getBoundingClientRect(), tokens = chosen.prompt.tokens;
    const row = Math.floor((event.clientY - at.top) / cell),
          column = Math.floor((event.clientX - at.left) / cell);
    if (row >= 0 && row < tokens.length && column >= 0 && column <= row)
      showTip('“' + visible(tokenText(tokens[row])) + '” → “' + visible(tokenText(tokens[column])) +
          '”  ' + short(values(row, column)),
        event.clientX, event.clientY);
    else
      hideTip();
  });
  heat.addEventListener('pointerleave', hideTip);
  heat.addEventListener('click', event => {
    const row = Math.floor((event.clientY - heat.getBoundingClientRect().top) / cell);
    chosen.row = Math.min(chosen.prompt.tokens.length - 1, Math.max(0, row));
    show();
  });
  slider.addEventListener('input', () => {
    chosen.row = Number(slider.value);
    show();
  });
  const which = choice('Prompt', prompts.map(each => [each.i, promptName(each.i)]), value => {
    chosen.prompt = data.prompts[Number(value)];
    chosen.row = chosen.prompt.tokens.length - 1;
    show();
  });
  const kind = choice('What is shown', Object.entries(names), value => {
    chosen.kind = value;
    show();
  });
  show();
  fill(box, {}, [element('div', {class: 'pickers'}, which, kind), heat, slider, line]);
  return box;
}
