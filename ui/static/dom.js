// Elements, and numbers as people read them.

export const $ = id => document.getElementById(id)

// el makes an element. Children that are no nodes are text; attributes that are undefined are left out.
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children)
}

// svg is el for pictures.
export function svg(name, attributes, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

function fill(e, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined) e.setAttribute(key, value)
  }
  e.append(...children)
  return e
}

// text changes what an element says, if it says something else: a reader is told of changes alone.
export function text(e, says) {
  if (e.textContent !== says) e.textContent = says
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })

const few = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })

// compact is a rate in the room beside an axis.
export const compact = n => few.format(n) + '/s'
export const count = n => whole.format(n ?? 0)
export const percent = share => (share > 0.995 && share < 1 ? '> 99.5' : short.format(100 * share)) + ' %'
export const rate = n => (n >= 100 ? whole.format(n) : short.format(n)) + '/s'

export function bytes(n) {
  for (const unit of ['B', 'KiB', 'MiB']) {
    if (n < 1024) return short.format(n) + ' ' + unit
    n /= 1024
  }
  return short.format(n) + ' GiB'
}

// span is a time in microseconds.
export function span(us) {
  if (us < 1) return us > 0 ? short.format(1000 * us) + ' ns' : '0'
  if (us < 1000) return short.format(us) + ' µs'
  if (us < 1e6) return short.format(us / 1e3) + ' ms'
  if (us < 6e7) return short.format(us / 1e6) + ' s'
  return whole.format(us / 6e7) + ' min'
}

export function clock(at) {
  const t = new Date(at)
  const two = n => String(n).padStart(2, '0')
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, '0')}`
}

// facts fills a list of terms and what they are. A term that stays is changed in place.
export function facts(list, pairs) {
  const same = list.children.length === 2 * pairs.length && pairs.every(([term], i) => list.children[2 * i].textContent === term)
  if (!same) list.replaceChildren(...pairs.flatMap(([term, is]) => [el('dt', null, term), el('dd', null, is)]))
  else pairs.forEach(([, is], i) => text(list.children[2 * i + 1], is))
}

// meter shows a share, 0 to 1, as a bar.
export function meter(bar, rect, share) {
  const n = Math.round(1000 * Math.min(1, Math.max(0, share))) / 10
  bar.setAttribute('aria-valuenow', n)
  rect.setAttribute('width', n)
}
