// Finding a node by its name or label.

function findNodes(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted)
    return [];
  const exact = nodes.filter(node => node.name.toLowerCase() === wanted);
  if (exact.length)
    return exact;
  return nodes.filter(node => node.name.toLowerCase().includes(wanted) ||
      node.label.toLowerCase().includes(wanted) || node.text.toLowerCase() === wanted);
}

function onSearch(event) {
  const found = findNodes(byId('search').value);
  for (const node of nodes)
    node.drawn.classList.toggle('found', found.length < nodes.length && found.includes(node));
  if (event.type === 'change' || event.key === 'Enter' || found.length === 1)
    if (found.length) {
      select(found[0]);
      reveal(found[0]);
    }
  if (byId('search').value.trim())
    say(counted(found.length, 'node') + ' found');
}

function makeSearch() {
  put(byId('node-names'),
    nodes.filter(node => node.kind === 'node')
      .map(node => element('option', {value: node.name}, node.label)));
  byId('search').addEventListener('input', onSearch);
  byId('search').addEventListener('change', onSearch);
  byId('search').addEventListener('keydown', event => {
    if (event.key === 'Enter')
      onSearch(event);
  });
}
