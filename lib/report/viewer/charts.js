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

// One series over a number; logX for counts of nodes.
function lineChart(series) {
  const width = 420, height = 220, left = 44, right = 12, top = 10, bottom = 40;
  const points =
    series.x.map((x, i) => ({x: series.log_x ? Math.log10(Math.max(1, x)) : x, y: series.y[i]}));
  const xs = points.map(point => point.x), ys = points.map(point => point.y);
  const lowX = Math.min(...xs), highX = Math.max(...xs, lowX + 1e-9), lowY = Math.min(0, ...ys),
        highY = Math.max(...ys, lowY + 1e-9);
  const x = value => left + (value - lowX) / (highX - lowX) * (width - left - right);
  const y = value => height - bottom - (value - lowY) / (highY - lowY) * (height - top - bottom);
  const made = drawn('svg', {
    class: 'chart',
    viewBox: '0 0 ' + width + ' ' + height,
    role: 'img',
    'aria-label': series.y_label + ' against ' + series.x_label
  });
  const label = (text, at, down, anchor) => {
    const node = drawn('text', {x: at, y: down, 'text-anchor': anchor});
    node.textContent = text;
    made.append(node);
  };
  for (const value of ticks(lowY, highY, 4)) {
    made.append(drawn('line', {class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value)}));
    label(short(value, 2), left - 6, y(value) + 4, 'end');
  }
  const marks =
    series.log_x ? ticks(Math.ceil(lowX), highX, 5).filter(Number.isInteger) : ticks(lowX, highX, 5);
  for (const value of marks)
    label(series.log_x ? String(Math.pow(10, value)) : short(value), x(value), height - bottom + 16,
      'middle');
  label(series.x_label, left, height - 6, 'start');
  const sorted = series.log_x ? [...points].sort((a, b) => a.x - b.x) : points;
  made.append(drawn('polyline',
    {class: 'line', points: sorted.map(p => x(p.x).toFixed(1) + ',' + y(p.y).toFixed(1)).join(' ')}));
  if (points.length <= 60)
    points.forEach((p, i) => made.append(drawn('circle', {
      class: 'dot',
      cx: x(p.x),
      cy: y(p.y),
      r: 3,
      'data-tip':
        series.x_label + ' ' + short(series.x[i]) + '\n' + series.y_label + ' ' + short(series.y[i])
    })));
  return element('figure', {class: 'chart-box'}, element('figcaption', {}, series.title), made);
}
