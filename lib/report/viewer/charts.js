// Small charts: a histogram, lines over a number.

function histogram(evidence) {
  if (!evidence.counts || !evidence.counts.length)
    return element('p', {class: 'quiet'}, 'Zero at every token.');
  const most = Math.max(...evidence.counts), n = evidence.counts.length, width = 320, height = 70;
  const step = width / n;
  const place = value => (value - evidence.first) / evidence.width * step;
  const bars = evidence.counts.map((count, i) => count === 0 ? null : drawn('rect', {
    class: evidence.first + (i + 0.5) * evidence.width < 0 ? 'column minus' : 'column plus',
    x: (i * step).toFixed(2),
    width: Math.max(1, step - 0.7).toFixed(2),
    y: (height - Math.max(1, height * Math.sqrt(count / most))).toFixed(2),
    height: Math.max(1, height * Math.sqrt(count / most)).toFixed(2),
    'data-tip': short(evidence.first + i * evidence.width) + ' to ' +
      short(evidence.first + (i + 1) * evidence.width) + ': ' + counted(count, 'token'),
  }));
  const zero = place(0);
  const text = 'Histogram of the values that are not zero, ' + short(evidence.minimum) + ' to ' +
    short(evidence.maximum);
  const made = drawn('svg',
    {class: 'histogram', viewBox: '0 0 ' + width + ' ' + (height + 14), role: 'img', 'aria-label': text},
    ...bars.filter(Boolean),
    drawn('line', {class: 'axis', x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5}));
  const marks = [[evidence.first, 0, 'start'], [evidence.first + n * evidence.width, width, 'end']];
  if (zero > 40 && zero < width - 40)
    marks.push([0, zero, 'middle']);
  for (const [value, x, anchor] of marks) {
    const label = drawn('text', {x, y: height + 12, 'text-anchor': anchor});
    label.textContent = short(value, 2);
    made.append(label);
  }
  return made;
}

function ticks(low, high, n) {
  const rough = (high - low) / n || 1, power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map(k => k * power).find(each => each >= rough);
  const made = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9 * step; value += step)
    made.push(Math.abs(value) < 1e-9 * step ? 0 : value);
  return made;
}

// ---- one series over a number: of counts on a logarithmic scale where they differ by much

const CHART = {
  width: 420,
  height: 220,
  left: 44,
  right: 12,
  top: 10,
  bottom: 40
};
const LOGARITHMIC = 8;  // largest by smallest

function logTicks(low, high) {
  const made = [];
  for (let power = 1; power <= high; power *= 10)
    for (const factor of high / low < 100 ? [1, 2, 5] : [1])
      if (factor * power >= low && factor * power <= high)
        made.push(factor * power);
  return made;
}

// Places of values in the chart, and the values that have marks.
function chartScale(series) {
  const xs = series.log_x ? series.x.map(value => Math.max(1, value)) : series.x;
  const low = Math.min(...xs), high = Math.max(...xs, low + 1e-9);
  const logarithmic = series.log_x && high / low >= LOGARITHMIC;
  const bend = value => logarithmic ? Math.log(Math.max(1, value)) : value;
  const bottom = Math.min(0, ...series.y), top = Math.max(...series.y, bottom + 1e-9);
  const across = CHART.width - CHART.left - CHART.right, down = CHART.height - CHART.top - CHART.bottom;
  return {
    x: value => CHART.left + (bend(value) - bend(low)) / (bend(high) - bend(low)) * across,
    y: value => CHART.top + (top - value) / (top - bottom) * down,
    marksX: logarithmic ? logTicks(low, high) : ticks(low, high, 5),
    marksY: ticks(bottom, top, 4),
  };
}

function chartText(text, x, y, anchor) {
  const made = drawn('text', {x, y, 'text-anchor': anchor});
  made.textContent = text;
  return made;
}

function chartFrame(series, scale) {
  const right = CHART.width - CHART.right, base = CHART.height - CHART.bottom;
  return [
    ...scale.marksY.map(
      value => drawn(
        'line', {class: 'grid', x1: CHART.left, x2: right, y1: scale.y(value), y2: scale.y(value)})),
    ...scale.marksY.map(value => chartText(short(value, 2), CHART.left - 6, scale.y(value) + 4, 'end')),
    ...scale.marksX.map(value => chartText(short(value), scale.x(value), base + 16, 'middle')),
    chartText(series.x_label, CHART.left, CHART.height - 6, 'start'),
  ];
}

function lineChart(series) {
  const scale = chartScale(series), n = series.x.length;
  const places = series.x.map((x, i) => [scale.x(x).toFixed(1), scale.y(series.y[i]).toFixed(1)]);
  const tip = i =>
    series.x_label + ' ' + short(series.x[i]) + '\n' + series.y_label + ' ' + short(series.y[i]);
  const dots = n > 60 ?
    [] :
    places.map(([cx, cy], i) => drawn('circle', {class: 'dot', cx, cy, r: 3, 'data-tip': tip(i)}));
  const chart = drawn('svg', {
    class: 'chart',
    viewBox: '0 0 ' + CHART.width + ' ' + CHART.height,
    role: 'img',
    'aria-label': series.y_label + ' against ' + series.x_label
  },
    chartFrame(series, scale), drawn('polyline', {class: 'line', points: places.join(' ')}), dots);
  return element('figure', {class: 'chart-box'}, element('figcaption', {}, series.title), chart);
}
