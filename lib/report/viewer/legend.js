// The legend: what of all this the picture holds.

function legendLine(kind, text) {
  return element('span', {class: 'key'},
    drawn('svg', {width: 34, height: 10, 'aria-hidden': true},
      drawn('line', {class: 'sample ' + kind, x1: 1, x2: 33, y1: 5, y2: 5})),
    text);
}

function legendPill(kind, text) {
  return element('span', {class: 'key'},
    drawn('svg', {width: 26, height: 14, 'aria-hidden': true},
      drawn('g', {class: 'node ' + kind}, drawn('rect', {x: 2, y: 1.5, width: 22, height: 11, rx: 4}))),
    text);
}

function makeLegend() {
  const keys = [
    legendLine('plus', 'positive weight'), legendLine('minus', 'negative weight'),
    element('span', {class: 'key'}, 'thickest: ±' + short(picture.largest.edge))
  ];
  if (links.length)
    keys.push(legendLine('link', 'same residual channel, read later'));
  if (nodes.some(node => delta(node))) {
    const pills = legendPill('node', 'filled: loss rises without it');
    pills.querySelector('rect').style.setProperty('--strength', '1');
    keys.push(pills);
  }
  if (data.circuits.length > 1)
    keys.push(legendPill('first', 'only ' + data.circuits[0].task),
      legendPill('second', 'only ' + data.circuits[1].task), legendPill('shared', 'both'));
  put(byId('legend'), keys);
}
