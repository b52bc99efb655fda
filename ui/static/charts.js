// Pictures: where answers come from, how long lookups take, the ring of ranges.
import { $, compact, count, el, percent, rate, span, svg, text } from './dom.js'

// tiers are who answers, in the order in which they are stacked.
export const tiers = [
  { name: 'L1', is: 'l1', says: 'memory', counter: s => s.cache.l1Hits - s.cache.negativeHits },
  { name: 'L1.5', is: 'l15', says: 'store on disk', counter: s => s.cache.storeHits },
  { name: 'L2', is: 'l2', says: 'Redis', counter: s => s.cache.l2Hits },
  { name: 'origin', is: 'origin', says: 'origin', counter: s => Math.max(0, s.cache.originLoads - s.cache.originErrors) },
  { name: 'stale', is: 'stale', says: 'stale copies', counter: s => s.cache.stale },
  { name: 'absent', is: 'absent', says: 'no such user', counter: s => s.cache.negativeHits + s.cache.absent },
  { name: 'failed', is: 'failed', says: 'failed' }
]

const swatch = is => svg('svg', { viewBox: '0 0 11 11', 'aria-hidden': 'true' }, svg('rect', { width: 11, height: 11, rx: 3, class: is }))

// legend shows what each colour means, and a text that changes.
function legend(list, entries) {
  const names = entries.map(e => e.name).join()
  if (list.dataset.names !== names) {
    list.dataset.names = names
    list.replaceChildren(...entries.map(e => el('li', null, swatch(e.is), el('b', null, e.name), el('span', { class: 'what' }))))
  }
  entries.forEach((e, i) => text(list.children[i].lastChild, e.text))
}

const shown = 300 // seconds of history
export const history = [] // {at, rates, total, proof}, the oldest first

// remember adds the rates since the snapshot before.
export function remember(before, now) {
  const seconds = before ? (now.at - before.at) / 1000 : 0
  const proof = now.stats.stream.lastAlive.startsWith('0001') ? 0 : Math.max(0, now.at - Date.parse(now.stats.stream.lastAlive))
  const rates = tiers.map(t => t.counter && seconds > 0 ? Math.max(0, t.counter(now.stats) - t.counter(before.stats)) / seconds : 0)
  history.push({ at: now.at, rates, total: rates.reduce((a, b) => a + b, 0), proof })
  while (history.length > shown + 1) history.shift()
}

// frame prepares a picture of the size that it has on the page, and returns its scales.
function frame(picture, left, right, top, bottom) {
  const width = picture.clientWidth || 600, height = picture.clientHeight || 200
  picture.setAttribute('viewBox', `0 0 ${width} ${height}`)
  return { width, height, x0: left, x1: width - right, y0: top, y1: height - bottom }
}

// ceiling is a round number that is no less than n.
function ceiling(n) {
  if (n <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(n))
  return [1, 2, 5, 10].map(m => m * power).find(m => m >= n)
}

function grid(f, max, says) {
  return [0, 0.5, 1].flatMap(part => {
    const y = f.y1 - part * (f.y1 - f.y0)
    return [svg('line', { class: 'axis', x1: f.x0, x2: f.x1, y1: y, y2: y }),
      svg('text', { x: f.x0 - 6, y: y + 4, 'text-anchor': 'end' }, says(part * max))]
  })
}

// period is how many seconds are drawn: what is known, from half a minute to all that is kept.
function period() {
  const known = (history.at(-1).at - history[0].at) / 1000
  return [30, 60, 120, shown].find(s => s >= known) ?? shown
}

function timeAxis(f, x) {
  const now = history.at(-1).at, all = period()
  return [all, all / 2, 0].map(s => svg('text', { x: x(now - 1000 * s), y: f.height - 2, 'text-anchor': s === all ? 'start' : s ? 'middle' : 'end' },
    s ? s + ' s ago' : 'now'))
}

function timeScale(f) {
  const now = history.at(-1).at, wide = (f.x1 - f.x0) / (1000 * period())
  return at => f.x1 - (now - at) * wide
}

export function areas() {
  const picture = $('areas'), f = frame(picture, 44, 4, 8, 20), x = timeScale(f)
  const max = ceiling(Math.max(1, ...history.map(h => h.total)))
  const y = n => f.y1 - n / max * (f.y1 - f.y0)
  const parts = tiers.map((t, i) => {
    const line = (h, n) => `${x(h.at).toFixed(1)},${y(h.rates.slice(0, n).reduce((a, b) => a + b, 0)).toFixed(1)}`
    const points = [...history.map(h => line(h, i + 1)), ...history.map(h => line(h, i)).reverse()]
    return svg('polygon', { class: t.is, points: points.join(' ') })
  })
  picture.replaceChildren(...grid(f, max, compact), ...parts, ...timeAxis(f, x))
  const last = history.at(-1)
  const entries = tiers.filter(t => t.counter).map((t, i) => ({ ...t,
    text: `${t.says} ${rate(last.rates[i])}` + (last.total > 0 ? `, ${percent(last.rates[i] / last.total)}` : '') }))
  legend($('areas-legend'), entries)
  picture.setAttribute('aria-label', `${rate(last.total)} lookups: ${entries.map(e => e.name + ' ' + e.text).join('; ')}`)
}

const perDecade = 5, buckets = 40

// latency draws hits above the line and all others below it. Each side has a scale of its own.
export function latency(by) {
  const picture = $('latency'), f = frame(picture, 8, 8, 16, 20)
  const middle = (f.y0 + f.y1) / 2, step = (f.x1 - f.x0) / buckets
  const below = tiers.slice(1).filter(t => by[t.name])
  const sum = (names, i) => names.reduce((n, t) => n + (by[t.name]?.counts[i] ?? 0), 0)
  const most = names => Math.max(1, ...Array.from({ length: buckets }, (_, i) => sum(names, i)))
  const up = most([tiers[0]]), down = most(below), room = (f.y1 - f.y0) / 2 - 4
  const bars = []
  const bar = (is, i, from, to) => {
    if (to - from > 0) bars.push(svg('rect', { class: is, x: (f.x0 + i * step + 0.5).toFixed(1), width: (step - 1).toFixed(1), y: from.toFixed(1), height: Math.max(1.5, to - from).toFixed(1), rx: 1 }))
  }
  for (let i = 0; i < buckets; i++) {
    const n = by.L1?.counts[i] ?? 0
    bar('l1', i, middle - 1 - n / up * room, n ? middle - 1 : middle - 1 - n)
    let at = middle + 1
    for (const t of below) {
      const high = (by[t.name].counts[i] ?? 0) / down * room
      bar(t.is, i, at, at + high)
      at += high
    }
  }
  const ticks = ['100 ns', '1 µs', '10 µs', '100 µs', '1 ms', '10 ms', '100 ms', '1 s'].flatMap((says, i) => {
    const x = f.x0 + i * perDecade * step
    return [svg('line', { class: 'axis', x1: x, x2: x, y1: f.y0, y2: f.y1 }),
      ...(f.width < 420 && i % 2 ? [] : [svg('text', { x, y: f.height - 4, 'text-anchor': i ? 'middle' : 'start' }, says)])]
  })
  picture.replaceChildren(...ticks, svg('line', { class: 'zero', x1: f.x0, x2: f.x1, y1: middle, y2: middle }), ...bars,
    svg('text', { x: f.x1, y: f.y0 - 4, 'text-anchor': 'end' }, 'hits ▲'), svg('text', { x: f.x0 + 3, y: f.y1 - 4 }, 'all others ▼'))
  const entries = tiers.filter(t => by[t.name]).map(t => ({ ...t, text: `half in ${span(1000 * by[t.name].p50Ms)}, 99 % in ${span(1000 * by[t.name].p99Ms)}` }))
  legend($('latency-legend'), entries)
  picture.setAttribute('aria-label', entries.length ? entries.map(e => e.name + ': ' + e.text).join('; ') : 'No lookups were timed yet')
}

export function proof() {
  const picture = $('proof'), f = frame(picture, 46, 4, 8, 18), x = timeScale(f)
  const max = ceiling(Math.max(250, ...history.map(h => h.proof)))
  const points = history.map(h => `${x(h.at).toFixed(1)},${(f.y1 - h.proof / max * (f.y1 - f.y0)).toFixed(1)}`)
  picture.replaceChildren(...grid(f, max, n => span(1000 * n)), svg('polyline', { class: 'trace', points: points.join(' ') }), ...timeAxis(f, x))
  picture.setAttribute('aria-label', `The last proof is ${span(1000 * history.at(-1).proof)} old`)
}

// ages draws how old things were, a bar for each cell. Up to bound milliseconds is as promised; 0 for no promise. none
// is said when there were none. The scale is logarithmic, so that one late change in a million shows.
export function ages(id, of, { bound, none, says }) {
  const picture = $(id), note = $(id + '-says'), f = frame(picture, 8, 8, 12, 18)
  const all = of?.count ? `${count(of.count)} ${says}: half within ${span(1000 * of.p50)}, 99 % within ${span(1000 * of.p99)}.` : none
  const late = bound && of?.count ? of.counts.reduce((n, c, i) => n + ((of.bounds[i] ?? Infinity) > bound ? c : 0), 0) : 0
  const promise = bound && of?.count ? (late ? ` ${count(late)} later than ${bound} ms.` : ` None later than the ${bound} ms that are promised.`) : ''
  text(note, all + promise)
  picture.setAttribute('aria-label', all + promise)
  picture.classList.toggle('empty', !of?.count)
  if (!of?.count) return picture.replaceChildren()
  const step = (f.x1 - f.x0) / of.counts.length, most = Math.log10(1 + Math.max(...of.counts))
  const cells = of.counts.flatMap((n, i) => {
    const x = f.x0 + i * step, high = Math.log10(1 + n) / most * (f.y1 - f.y0)
    const past = (of.bounds[i] ?? Infinity) > bound
    const label = of.bounds[i] === undefined ? 'more' : span(1000 * of.bounds[i])
    return [...(n ? [svg('rect', { class: bound && past ? 'failed' : 'l1', x: (x + 1).toFixed(1), width: (step - 2).toFixed(1), y: (f.y1 - Math.max(2, high)).toFixed(1), height: Math.max(2, high).toFixed(1), rx: 1 },
      svg('title', null, `up to ${label}: ${count(n)}`))] : []),
    ...(f.width < 640 && i % 3 ? [] : [svg('text', { x: x + step / 2, y: f.height - 4, 'text-anchor': 'middle' }, label)])]
  })
  picture.replaceChildren(svg('line', { class: 'zero', x1: f.x0, x2: f.x1, y1: f.y1, y2: f.y1 }), ...cells)
}

const owners = 6 // colours

let drawn = ''

// ring draws whose each range is, once for each change.
export function ring(cluster, ranges) {
  const known = JSON.stringify([ranges, cluster.members.map(m => m.name)])
  if (known === drawn) return
  drawn = known
  const paths = cluster.members.map((m, owner) => {
    const arcs = ranges.flatMap((o, i) => o === owner ? [arc(i, ranges.length)] : [])
    return svg('path', { class: 'o' + owner % owners, d: arcs.join('') }, svg('title', null, m.name))
  })
  $('ring').replaceChildren(...paths, svg('text', { class: 'big', y: 2 }, count(ranges.length)), svg('text', { class: 'small', y: 17 }, 'ranges of ids'))
  $('ring').setAttribute('aria-label', cluster.members.map(m => `${m.name} has ${m.ranges} ranges`).join(', '))
}

function arc(i, of) {
  const at = (n, r) => `${(r * Math.sin(2 * Math.PI * n / of)).toFixed(2)} ${(-r * Math.cos(2 * Math.PI * n / of)).toFixed(2)}`
  return `M${at(i, 64)}L${at(i, 96)}L${at(i + 1, 96)}L${at(i + 1, 64)}Z`
}

export const ownerDot = owner => svg('svg', { class: 'dot', viewBox: '0 0 10 10', 'aria-hidden': 'true' }, svg('rect', { width: 10, height: 10, rx: 3, class: 'o' + owner % owners }))
export const tierDot = name => svg('svg', { class: 'dot', viewBox: '0 0 10 10', 'aria-hidden': 'true' }, svg('rect', { width: 10, height: 10, rx: 3, class: tiers.find(t => t.name === name)?.is }))
