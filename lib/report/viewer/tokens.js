// Text as tokens: visible, coloured by value, and with its value under the pointer.

function tokenText(token) {
  const text = data.vocabulary[token];
  return text === undefined ? '[' + token + ']' : text;
}

// A token by itself: its spaces and line ends are to be seen.
function visible(text) {
  return text.replace(/ /g, '␣').replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/\p{Cc}/gu, '·') || '∅';
}

// In running text spaces stay spaces.
function running(text, breaks) {
  return text.replace(/\n/g, breaks ? '⏎\n' : '⏎').replace(/\t/g, '⇥').replace(/[^\P{Cc}\n]/gu, '·');
}

function tokenSpan(token, value, largest, options) {
  const share = largest > 0 && value !== null ? Math.min(1, Math.abs(value) / largest) : 0;
  const classes = ['token', value < 0 ? 'minus' : 'plus'];
  if (options.at)
    classes.push('at');
  return element('span', {
    class: classes.join(' '),
    style: share > 0.004 ? {'--share': share.toFixed(3)} : {},
    'data-tip': '“' + visible(tokenText(token)) + '”  ' + (options.tip || short(value))
  },
    running(tokenText(token), options.breaks));
}

function tokenLine(tokens, values, largest, options = {}) {
  return element('span', {class: 'tokens' + (options.breaks ? ' code' : '')},
    tokens.map((token, i) => tokenSpan(token, values ? values[i] : null, largest,
                 {at: i === options.at, breaks: options.breaks})));
}

function showTip(text, x, y) {
  const tip = byId('tip');
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left =
    Math.max(4, Math.min(x + 14, document.documentElement.clientWidth - box.width - 8)) + 'px';
  tip.style.top = (y + 18 + box.height > window.innerHeight ? y - box.height - 12 : y + 18) + 'px';
}

function hideTip() {
  byId('tip').hidden = true;
}

function makeTips() {
  document.addEventListener('pointerover', event => {
    const found = event.target.closest ? event.target.closest('[data-tip]') : null;
    if (found)
      showTip(found.dataset.tip, event.clientX, event.clientY);
    else if (!event.target.closest || !event.target.closest('#figure, .heat'))
      hideTip();
  });
}
