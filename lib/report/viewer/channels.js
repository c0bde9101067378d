// Tokens: which of them write to the residual channels of the circuit, and which logits read them.

function channelNodes(channel) {
  return nodes.filter(node => node.kind === 'node' && String(node.channel) === channel &&
      /act_in|resid/.test(siteEnd(node.site)));
}

function channelColumn(channel, table, title) {
  const entry = data.channels[channel][table];
  if (!entry)
    return element('div', {}, element('h4', {}, title), element('p', {class: 'quiet'}, 'none'));
  const tokens = pairsOf(entry.list), largest = Math.max(...tokens.map(each => Math.abs(each.weight)));
  return element('div', {}, element('h4', {}, title + ' · ' + entry.n.toLocaleString('en')),
    longList(tokens, 10,
      each => element('li', {class: 'entry'},
        element('span', {class: 'chip'}, visible(tokenText(each.token))),
        element('span', {class: 'number'}, weightText(each.weight)), weightBar(each.weight, largest))));
}

function showChannels() {
  const channels =
    Object.keys(data.channels)
      .filter(channel => channelNodes(channel).length)
      .filter(channel => data.channels[channel].embedding || data.channels[channel].unembedding);
  put(byId('view-channels'), [
    element('h2', {}, 'Tokens at the residual channels'),
    element('p', {class: 'lead'},
      'Left: tokens whose embedding has an entry in the channel. Right: tokens whose logit reads it, ' +
        'behind the final norm. Strongest first, then those of the prompts.'),
    channels.length ?
      channels.map(
        channel => element('article', {class: 'channel'}, element('h3', {}, 'Channel ' + channel),
          element('p', {class: 'quiet'},
            channelNodes(channel).flatMap((node, i) => [i ? ', ' : '', nodeButton(node)])),
          element('div', {class: 'two'}, channelColumn(channel, 'embedding', 'Written by'),
            channelColumn(channel, 'unembedding', 'Read by the logits of')))) :
      element('p', {class: 'quiet'}, 'The circuit has no residual channels.')
  ]);
}
