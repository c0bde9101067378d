// The same circuit as two tables: nodes, edges. They can be sorted, and searched by the browser.

const FIRST_ROWS = 300;

const NODE_COLUMNS = [
  {title: 'Node', value: node => node.name, cell: node => nodeButton(node)},
  {title: 'Kind', value: node => columnKey(node), cell: node => describe(node)},
  {title: 'Label', value: node => node.label, cell: node => node.label},
  {title: 'In', number: true, value: node => node.into.length},
  {title: 'Out', number: true, value: node => node.out.length},
  {
    title: 'Δ loss',
    number: true,
    value: node => delta(node) ? delta(node).loss : -Infinity,
    cell: node => delta(node) ? nats(delta(node).loss) : '–'
  },
  {
    title: 'Δ uncalibrated',
    number: true,
    value: node => delta(node) ? delta(node).raw : -Infinity,
    cell: node => delta(node) ? nats(delta(node).raw) : '–'
  },
];

const EDGE_COLUMNS = [
  {title: 'From', value: edge => edge.from.name, cell: edge => nodeButton(edge.from)},
  {title: 'To', value: edge => edge.to.name, cell: edge => nodeButton(edge.to)},
  {title: 'Weight', number: true, value: edge => edge.weight, cell: edge => weightText(edge.weight)},
  {
    title: '|Weight|',
    number: true,
    value: edge => Math.abs(edge.weight),
    cell: edge => weightText(Math.abs(edge.weight)).replace('+', '')
  },
  {
    title: 'Δ loss',
    number: true,
    value: edge => delta(edge) ? delta(edge).loss : -Infinity,
    cell: edge => delta(edge) ? nats(delta(edge).loss) : '–'
  },
];

const MEMBER_COLUMN = {
  title: 'Circuit',
  value: thing => thing.members,
  cell: thing => ['', 'first', 'second', 'both'][thing.members]
};

function compareValues(a, b) {
  return typeof a === 'string' ? a.localeCompare(b, 'en', {numeric: true}) : a - b;
}

function sortedTable(title, things, columns) {
  const body = element('tbody'), heads = [], more = element('p');
  let sorted = null, up = true, limit = FIRST_ROWS;
  function show() {
    const list = sorted ?
      [...things].sort((a, b) => (up ? 1 : -1) * compareValues(sorted.value(a), sorted.value(b))) :
      things;
    put(body,
      list.slice(0, limit).map(
        thing => element('tr', {},
          columns.map((column, i) => element(i ? 'td' : 'th',
                        {scope: i ? null : 'row', class: column.number ? 'number' : ''},
                        column.cell ? column.cell(thing) : String(column.value(thing)))))));
    const all = () => {
      limit = things.length;
      show();
    };
    put(more,
      things.length > limit ? button('more', all, 'Show all ' + things.length.toLocaleString('en')) :
                              null);
  }
  function sortBy(column) {
    up = sorted === column ? !up : !column.number;
    sorted = column;
    heads.forEach((head, i) => head.setAttribute('aria-sort',
                    columns[i] !== sorted ? 'none' :
                      up                  ? 'ascending' :
                                            'descending'));
    show();
  }
  for (const column of columns)
    heads.push(element('th', {scope: 'col', 'aria-sort': 'none', class: column.number ? 'number' : ''},
      button('sort', () => sortBy(column), column.title)));
  show();
  return [
    element('div', {class: 'scroll'},
      element('table', {class: 'data'}, element('caption', {}, title),
        element('thead', {}, element('tr', {}, heads)), body)),
    more
  ];
}

function showTable() {
  const compared = data.circuits.length > 1 ? [MEMBER_COLUMN] : [];
  put(byId('view-table'), [
    sortedTable(counted(nodes.filter(node => node.kind === 'node').length, 'node'),
      nodes.filter(node => node.kind === 'node'), NODE_COLUMNS.concat(compared)),
    sortedTable(counted(edges.length, 'edge'), edges, EDGE_COLUMNS.concat(compared)),
  ]);
}
