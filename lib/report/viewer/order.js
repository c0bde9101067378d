// The order within columns that keeps crossings few: each column in turn follows the means of its
// neighbours' ranks.

const SWEEPS = 12;
const PULL = {
  edge: 1,
  link: 0.3,
  embedding: 0.6,
  unembedding: 0.6
};

function rank(columns) {
  for (const column of columns) {
    let place = 0;
    for (const unit of column.units)
      for (const node of unit.nodes)
        node.rank = place++;
    for (const unit of column.units)
      for (const node of unit.nodes)
        node.rank /= Math.max(1, place);
  }
}

function wish(node, sides) {
  let sum = 0, weight = 0;
  for (const side of sides)
    for (const edge of node[side]) {
      const other = side === 'into' ? edge.from : edge.to;
      sum += PULL[edge.kind] * other.rank;
      weight += PULL[edge.kind];
    }
  return weight ? sum / weight : node.rank;
}

function sortColumn(column, sides) {
  for (const unit of column.units) {
    for (const node of unit.nodes)
      node.wish = wish(node, sides);
    unit.nodes.sort((a, b) => a.wish - b.wish || a.index - b.index);
    unit.wish = unit.nodes.reduce((sum, node) => sum + node.wish, 0) / unit.nodes.length;
  }
  column.units.sort((a, b) => a.wish - b.wish || a.nodes[0].index - b.nodes[0].index);
  rank([column]);
}

// Of two edges between the same columns that cross, one of the four ends stands on the wrong side of the
// other.
function crossings(columns) {
  let n = 0;
  const between = new Map();
  for (const edge of edges.concat(links, tokenLinks)) {
    const key = edge.from.column * columns.length + edge.to.column;
    between.set(key, (between.get(key) || []).concat(edges.length > 3000 ? [] : edge));
  }
  for (const group of between.values())
    for (let i = 0; i < group.length; i++)
      for (let j = 0; j < i; j++)
        n += (group[i].from.rank - group[j].from.rank) * (group[i].to.rank - group[j].to.rank) < 0;
  return n;
}

function orderColumns(columns) {
  let best = Infinity, kept = null;
  rank(columns);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const column of columns)
      sortColumn(column, ['into']);
    for (const column of [...columns].reverse())
      sortColumn(column, ['out']);
    for (const column of columns)
      sortColumn(column, ['into', 'out']);
    const n = crossings(columns);
    if (n < best || edges.length > 3000) {
      best = n;
      kept = columns.map(column => column.units.map(unit => ({unit, nodes: [...unit.nodes]})));
    }
  }
  columns.forEach((column, i) => {
    column.units = kept[i].map(each => Object.assign(each.unit, {nodes: each.nodes}));
  });
  rank(columns);
}
