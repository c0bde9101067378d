'use strict';
// Making elements. Text goes in as text alone: nothing of the data is ever read as markup.

const SVG = 'http://www.w3.org/2000/svg';

function byId(id) {
  return document.getElementById(id);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false)
      continue;
    if (name === 'style')
      for (const [property, setting] of Object.entries(value))
        node.style.setProperty(property, setting);
    else
      node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false)
      node.append(child);
  return node;
}

function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function button(kind, click, text, attributes) {
  const made = element('button', Object.assign({type: 'button', class: kind}, attributes), text);
  made.addEventListener('click', click);
  return made;
}

function put(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter(
    child => child !== null && child !== undefined && child !== false));
}

// For a screen reader, after something has changed that is only to be seen.
function say(text) {
  byId('spoken').textContent = text;
}

function short(value, digits = 3) {
  if (value === null || !Number.isFinite(value))
    return '–';
  if (value === 0)
    return '0';
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? value.toExponential(digits - 1) :
                                            String(Number(value.toPrecision(digits)));
  return text.replace('-', '−');
}

function signed(value, digits = 3) {
  return (value > 0 ? '+' : '') + short(value, digits);
}

// A weight in a column of weights.
function weightText(value) {
  return value === null || Math.abs(value) < 0.0005 ?
    signed(value) :
    (value > 0 ? '+' : '−') + Math.abs(value).toFixed(3);
}

// What a path adds, in logits.
function logits(value) {
  if (value === null || !Number.isFinite(value))
    return '–';
  return (value < 0 ? '−' : '+') + Math.abs(value).toFixed(2);
}

// A change of the loss: thousandths of a nat are enough.
function nats(value) {
  if (value === null || !Number.isFinite(value))
    return '–';
  const text = value.toFixed(3).replace('-', '−');
  return value >= 0.0005 ? '+' + text : text === '−0.000' ? '0.000' : text;
}

function counted(n, word) {
  return n.toLocaleString('en') + ' ' + word + (n === 1 ? '' : 's');
}

// What parts of the page tell one another.
const listeners = {};

function listen(event, handler) {
  (listeners[event] = listeners[event] || []).push(handler);
}

function announce(event, value) {
  for (const handler of listeners[event] || [])
    handler(value);
}
