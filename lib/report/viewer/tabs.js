// The views and their tabs; a view is made when it is first opened.

const VIEWS = ['graph', 'table', 'figures', 'channels'];
const opened = {};
const OPEN = {
  table: showTable,
  figures: showFigures,
  channels: showChannels,
  graph: () => {}
};

function openView(name) {
  if (!opened[name] || name === 'table')
    OPEN[name]();
  opened[name] = true;
  for (const each of VIEWS) {
    const tab = byId('tab-' + each);
    tab.setAttribute('aria-selected', each === name);
    tab.setAttribute('tabindex', each === name ? 0 : -1);
    byId('view-' + each).hidden = each !== name;
  }
}

function onTabKey(event) {
  const at = VIEWS.findIndex(name => event.target.id === 'tab-' + name);
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (at < 0 || !step)
    return;
  event.preventDefault();
  const name = VIEWS[(at + step + VIEWS.length) % VIEWS.length];
  openView(name);
  byId('tab-' + name).focus();
}

function makeTabs() {
  for (const name of VIEWS) {
    byId('tab-' + name).addEventListener('click', () => openView(name));
    byId('tab-' + name).addEventListener('keydown', onTabKey);
  }
}
