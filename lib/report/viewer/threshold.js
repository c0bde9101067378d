// Weak edges can be taken away: the slider runs over the edges in order of strength.

function showThreshold() {
  const n = edges.length, share = Number(byId('threshold').value) / 1000;
  const kept = Math.max(Math.min(n, 1), Math.round(n * share));
  state.least = kept < n ? Math.abs(picture.byWeight[n - kept].weight) : 0;
  let shown = 0;
  for (const edge of edges) {
    edge.shown = Math.abs(edge.weight) >= state.least;
    shown += edge.shown;
  }
  const text = state.least ?
    shown.toLocaleString('en') + ' of ' + n.toLocaleString('en') + ', from ±' + short(state.least) :
    'all ' + n.toLocaleString('en');
  byId('threshold-text').textContent = text;
  byId('threshold').setAttribute('aria-valuetext', text);
  refreshEdges();
}

function makeThreshold() {
  byId('threshold').addEventListener('input', showThreshold);
  byId('threshold').disabled = edges.length < 2;
}
