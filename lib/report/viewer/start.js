// Puts the page together.

const THEMES = ['auto', 'light', 'dark'];

function setTheme(name) {
  if (name === 'auto')
    delete document.documentElement.dataset.theme;
  else
    document.documentElement.dataset.theme = name;
  byId('theme').textContent = 'Theme: ' + name;
  readColors();
  refreshEdges();
  showCard(state.selected);
}

function makeTheme() {
  let at = 0;
  byId('theme').addEventListener('click', () => {
    at = (at + 1) % THEMES.length;
    setTheme(THEMES[at]);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTheme(THEMES[at]));
}

// On paper all views stand one below the other, in full.
function makePrinting() {
  window.addEventListener('beforeprint', () => {
    for (const name of VIEWS)
      OPEN[name]();
    picture.printing = true;
    readColors();
    redraw();
  });
  window.addEventListener('afterprint', () => {
    picture.printing = false;
    readColors();
    redraw();
  });
}

function start() {
  readCircuits();
  addEmbeddings();
  addAnswers();
  byId('title').textContent = data.circuits.map(circuit => circuit.task || 'Untitled').join(' and ');
  byId('kicker').textContent =
    data.circuits.length > 1 ? 'Two circuits of one model' : 'Circuit of a sparse transformer';
  byId('summary').textContent = data.circuits.length > 1 ? comparisonText() : summaryText(0);
  makeGraph();
  makeZoom();
  makeThreshold();
  makeFocus();
  makeSearch();
  makeLabels();
  makeTips();
  makeCard();
  makeCompare();
  makeLegend();
  makeTabs();
  makeKeyboard();
  makeTheme();
  makePrinting();
  showThreshold();
  rove(nodes[0]);
  fitFirst();
  document.documentElement.dataset.ready = 'yes';
}

start();
