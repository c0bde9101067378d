// Where nodes stand: columns from left to right, each node as near to the height of its neighbours as
// room allows.

const PILL = 22, GAP = 10, HEAD_TOP = 18, HEAD_BOTTOM = 8, TOP = 62, ROUNDS = 24;
const BETWEEN = 78, BETWEEN_NARROW = 26, NARROW = 600;  // of columns, in a window of that width
const GRAVITY = 0.1;  // to the middle, so that what hangs together by nothing does not drift apart
const LABEL_LETTERS = 20;

function nodeText(node) {
  const label = [...node.label];
  const shown =
    label.length > LABEL_LETTERS ? label.slice(0, LABEL_LETTERS - 1).join('') + '…' : node.label;
  const text = [...node.text];
  return (text.length > 16 ? text.slice(0, 15).join('') + '…' : node.text) + (shown ? '  ' + shown : '');
}

function measure() {
  const pen = document.createElement('canvas').getContext('2d');
  pen.font = '12px ' + getComputedStyle(document.body).fontFamily;
  for (const node of nodes)
    node.width = Math.max(30, Math.ceil(pen.measureText(nodeText(node)).width) + 16);
}

function placeAcross(columns) {
  const narrow = byId('figure').clientWidth < NARROW;
  let x = 0;
  for (const column of columns) {
    column.width = Math.max(column.key < 0 || column.key >= LAST ? 102 : 58,
      ...column.units.flatMap(unit => unit.nodes.map(node => node.width)));
    column.x = x;
    const crowd = column.units.reduce((sum, unit) => sum + unit.nodes.length, 0);
    x += column.width + (narrow ? BETWEEN_NARROW : BETWEEN) + Math.min(160, crowd * 1.2 - 6);
    for (const unit of column.units)
      for (const node of unit.nodes)
        node.x = column.x + (column.width - node.width) / 2;
  }
}

function setUnit(unit, top) {
  unit.y = top;
  unit.nodes.forEach((node, i) => {
    node.y = top + (unit.head === undefined ? 0 : HEAD_TOP) + i * (PILL + 6) + PILL / 2;
  });
}

function unitHeight(unit) {
  const own = unit.nodes.length * (PILL + 6) - 6;
  return unit.head === undefined ? own : own + HEAD_TOP + HEAD_BOTTOM;
}

// Where a unit would like its top to be.
function unitWish(unit) {
  let sum = -GRAVITY * unit.height / 2, weight = GRAVITY;
  for (const node of unit.nodes)
    for (const edge of node.into.concat(node.out)) {
      const other = edge.from === node ? edge.to : edge.from;
      sum += PULL[edge.kind] * (other.y - (node.y - unit.y));
      weight += PULL[edge.kind];
    }
  return sum / weight;
}

// The order stands, nothing overlaps, and the squares of what is missing to the wishes are least:
// neighbours whose wishes collide move as one block.
function settle(column) {
  let offset = 0;
  const blocks = [];
  for (const unit of column.units) {
    blocks.push({sum: unitWish(unit) - offset, n: 1});
    offset += unit.height + GAP;
    while (blocks.length > 1) {
      const last = blocks[blocks.length - 1], before = blocks[blocks.length - 2];
      if (before.sum / before.n <= last.sum / last.n)
        break;
      blocks.splice(-2, 2, {sum: before.sum + last.sum, n: before.n + last.n});
    }
  }
  offset = 0;
  let i = 0;
  for (const block of blocks)
    for (let k = 0; k < block.n; k++, i++) {
      setUnit(column.units[i], block.sum / block.n + offset);
      offset += column.units[i].height + GAP;
    }
}

function placeDown(columns) {
  for (const column of columns) {
    let height = -GAP;
    for (const unit of column.units) {
      unit.height = unitHeight(unit);
      height += unit.height + GAP;
    }
    let y = -height / 2;
    for (const unit of column.units) {
      setUnit(unit, y);
      y += unit.height + GAP;
    }
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const column of round % 2 ? [...columns].reverse() : columns)
      settle(column);
}

// Moves all so that the picture begins at (0, 0); returns its size.
function frame(columns) {
  let top = Infinity, bottom = -Infinity;
  for (const column of columns)
    for (const unit of column.units) {
      top = Math.min(top, unit.y);
      bottom = Math.max(bottom, unit.y + unit.height);
    }
  for (const column of columns)
    for (const unit of column.units)
      setUnit(unit, unit.y - top + TOP);
  const last = columns[columns.length - 1];
  return {width: last ? last.x + last.width : 100, height: last ? bottom - top + TOP : 100};
}

function placeColumns(columns) {
  measure();
  placeAcross(columns);
  placeDown(columns);
  return frame(columns);
}
