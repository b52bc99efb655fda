// The parts of the page that are words and numbers.
import { $, bytes, count, el, facts, meter, percent, rate, span, svg, text } from './dom.js'
import { ownerDot } from './charts.js'

const words = { ok: '✓ good', warn: '! look', bad: '✕ bad' }
const worst = checks => ['bad', 'warn'].find(state => checks.some(c => c.state === state)) ?? 'ok'

export function checks(list) {
  const state = worst(list)
  const troubles = list.filter(c => c.state !== 'ok').map(c => c.name)
  $('verdict').dataset.state = state
  text($('verdict'), state === 'ok' ? 'All is well' : (state === 'bad' ? 'Trouble: ' : 'Look at: ') + troubles.join(', '))
  document.title = (state === 'ok' ? '' : words[state][0] + ' ') + 'edgecache'
  const names = list.map(c => c.name).join()
  if ($('checks').dataset.names !== names) {
    $('checks').dataset.names = names
    $('checks').replaceChildren(...list.map(c => el('li', null, el('span', { class: 'badge' }), el('span', { class: 'name' }, c.name), el('span', { class: 'says' }))))
  }
  list.forEach((c, i) => {
    const [badge, , says] = $('checks').children[i].children
    badge.dataset.state = c.state
    text(badge, words[c.state])
    text(says, c.says)
  })
}

export function figures(cluster, total, hits) {
  text($('self'), cluster.self === 'alone' ? '' : cluster.self)
  const list = $('figures')
  if (!list.children.length) {
    list.replaceChildren(...['lookups', 'from memory'].map(term => el('div', null, el('dt', null, term), el('dd', null, '–'))))
  }
  text(list.children[0].lastChild, rate(total))
  text(list.children[1].lastChild, total > 0 ? percent(hits / total) : '–')
}

export function members(cluster) {
  const rows = [...cluster.members.map((m, i) => row(m, m.name === cluster.self, ownerDot(i))), ...(cluster.gone ?? []).map(m => row(m, false, ''))]
  $('members').replaceChildren(...rows)
}

function row(m, self, dot) {
  const trouble = m.fenced && m.lagMs ? 'fenced' : m.redis === 'lost' ? 'no Redis' : m.origin === 'failing' ? 'no origin' : ''
  const state = trouble ? 'bad' : m.state === 'alive' ? 'ok' : 'warn'
  return el('tr', null, el('td', null, dot, m.name, self ? ' (this one)' : ''), el('td', null, el('span', { class: 'badge', 'data-state': state }, trouble || m.state)),
    el('td', { class: 'num' }, count(m.ranges)), el('td', { class: 'num' }, percent(m.memory ?? 0)), el('td', { class: 'num' }, percent(m.warmth)))
}

export function memory(s, hottest) {
  meter($('memory-bar'), $('memory-fill'), s.cache.l1Bytes / s.cache.l1Capacity)
  facts($('memory'), [
    ['In use', `${bytes(s.cache.l1Bytes)} of ${bytes(s.cache.l1Capacity)}`],
    ['Users held', count(s.cache.l1Entries)],
    ['Evicted for want of room', count(s.cache.l1Evictions)],
    ['Invalidated', count(s.cache.invalidations)],
    ['Refreshed by events', count(s.cache.refreshes)],
    ['Refused for want of room', count(s.cache.unadmitted)],
    ['Flushes', count(s.cache.flushes)]
  ])
  const most = hottest[0]?.share || 1
  $('hottest').replaceChildren(...hottest.map(u => el('li', null, el('span', null, u.id),
    svg('svg', { viewBox: '0 0 100 7', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('rect', { class: 'l1', height: 7, width: (100 * u.share / most).toFixed(1) })),
    el('span', { class: 'num' }, percent(u.share)))))
  if (!hottest.length) $('hottest').replaceChildren(el('li', null, el('span', { class: 'note' }, 'Nobody was looked up yet.')))
}

export function origin(s) {
  const breaker = s.origin?.breaker ?? 'unknown'
  const state = { closed: 'ok', open: 'bad', 'half-open': 'warn' }[breaker] ?? 'warn'
  if ($('breaker').dataset.is !== breaker) {
    $('breaker').dataset.is = breaker
    $('breaker').replaceChildren('Circuit breaker: ', el('span', { class: 'badge', 'data-state': state }, breaker))
  }
  facts($('origin'), [
    ['Calls', count(s.cache.originCalls)], ['Users asked for', count(s.cache.originLoads)], ['Failed', count(s.cache.originErrors)],
    ['Retries', count(s.origin?.retries)], ['Refused by the breaker', count(s.origin?.refused)], ['Malformed answers', count(s.origin?.malformed)]
  ])
}

export function prewarm(s) {
  const p = s.prewarm
  meter($('prewarm-bar'), $('prewarm-fill'), p.share)
  facts($('prewarm'), [
    ['State', p.error ? p.state + ': ' + p.error : p.state],
    ['Users', `${count(p.totalProcessed)} of ${count(p.planned)}`],
    ['Failed', count(p.errors)],
    ['Asked of the origin', rate(p.rate)],
    ['Left', p.waiting ? 'waiting for ' + p.waiting : p.etaMs ? span(1000 * p.etaMs) : '–'],
    ['Warmth of this node', percent(s.warmth)]
  ])
}

const sum = counts => Object.values(counts ?? {}).reduce((a, b) => a + b, 0)

export function stream(s) {
  facts($('stream'), [
    ['Changes heard', count(s.stream.entries)], ['Lag of the last', s.stream.lagMs ? span(1000 * s.stream.lagMs) : '–'],
    ['Highest lag', s.stream.maxLagMs ? span(1000 * s.stream.maxLagMs) : '–'], ['Connections lost', count(s.stream.lost)],
    ['Gaps', count(sum(s.stream.gaps))], ['Refused', count(sum(s.stream.refused))],
    ['Applied to Redis', s.worker ? count(s.worker.applied) : '–'], ['Failed attempts', s.worker ? count(s.worker.failed) : '–']
  ])
  const dead = Object.entries(s.worker?.dead ?? {})
  facts($('dead'), dead.length ? dead.map(([reason, n]) => [reason, count(n)]) : [['None by this node', '0']])
}

export function letters(list) {
  $('letters-box').hidden = !list.length
  $('letters').replaceChildren(...list.map(l => el('tr', null, el('td', { class: 'time' }, el('time', { datetime: l.at }, new Date(l.at).toLocaleString())),
    el('td', null, l.user ?? '–'), el('td', null, l.reason, el('span', { class: 'note' }, ' entry ' + l.entry + (l.cut ? ', cut' : ''))), el('td', { class: 'num' }, count(l.deliveries)))))
}

export function functions(list) {
  $('functions').replaceChildren(...(list ?? []).map(f => el('tr', null, el('td', null, `${f.name} v${f.version}`),
    el('td', null, el('span', { class: 'badge', 'data-state': f.fenced ? 'warn' : 'ok' }, f.fenced ? 'fenced' : f.loaded ? 'serves' : 'known')),
    el('td', { class: 'num' }, count(f.calls)), el('td', { class: 'num' }, count(f.failed)))))
  if (!list?.length) $('functions').replaceChildren(el('tr', null, el('td', { colspan: 4 }, 'None.')))
}

// demo shows what can be broken, and which promises hold. act is called with a fault and whether to bring it on.
export function demo(state, act) {
  document.body.classList.toggle('demo', Boolean(state))
  $('demo').hidden = !state
  if (!state) return
  const faults = $('faults')
  if (faults.children.length !== state.faults.length) {
    faults.replaceChildren(...state.faults.map(f => {
      const button = el('button', { type: 'button', 'data-fault': f.name }, f.title)
      button.addEventListener('click', () => act(f.name, button.getAttribute('aria-pressed') !== 'true'))
      return el('div', { class: 'fault' }, button, el('p', null, f.says))
    }))
  }
  state.faults.forEach((f, i) => {
    const button = faults.children[i].firstChild
    button.setAttribute('aria-pressed', f.on)
    text(button, f.title)
  })
  const list = $('promises')
  if (list.children.length !== state.promises.length) {
    list.replaceChildren(...state.promises.map(() => el('li', null, el('b'), el('span'), el('span', { class: 'seen' }))))
  }
  state.promises.forEach((p, i) => {
    const [verdict, says, seen] = list.children[i].children
    list.children[i].dataset.state = p.kept ? 'ok' : 'bad'
    text(verdict, p.kept ? '✓ kept ' : '✕ broken ')
    text(says, p.says)
    text(seen, p.seen)
  })
}
