// The dashboard: it shows each snapshot of the node, and asks for what a person wants to know.
import { $, clock, count, el, span, text } from './dom.js'
import { ages, areas, history, latency, proof, remember, ring, tierDot } from './charts.js'
import * as panels from './panels.js'
import { ask, token, watch } from './live.js'

let last, paused = false

function show(snapshot) {
  remember(last, snapshot)
  last = snapshot
  $('login').hidden = true
  link('live', 'live, ' + clock(snapshot.at).slice(0, 8))
  panels.checks(snapshot.checks)
  const now = history.at(-1)
  panels.figures(snapshot.cluster, now.total, now.rates[0])
  panels.demo(snapshot.demo, breakIt)
  areas()
  latency(snapshot.latency)
  proof()
  ages('heard', snapshot.heard, { bound: 250, none: 'No change was heard of yet.', says: 'changes' })
  ages('evicted', snapshot.evicted, { none: 'Nothing had to make room yet.', says: 'entries' })
  ring(snapshot.cluster, snapshot.owners)
  panels.members(snapshot.cluster)
  panels.memory(snapshot.stats, snapshot.hottest)
  panels.origin(snapshot.stats)
  panels.prewarm(snapshot.stats)
  panels.stream(snapshot.stats)
  panels.functions(snapshot.stats.functions)
  if (!paused) lookups()
}

function link(state, says) {
  document.body.classList.toggle('old', state === 'lost')
  $('link').dataset.state = state
  text($('link'), says)
}

function lost(err) {
  const ago = last ? '; this is from ' + clock(last.at).slice(0, 8) : ''
  link('lost', 'no connection: ' + err.message + ago)
  $('verdict').dataset.state = 'bad'
  text($('verdict'), 'The node does not answer')
}

function refused(err) {
  $('login').hidden = false
  text($('login-says'), token.get() ? 'The node does not take this token: ' + err.message : 'This node wants a bearer token with the role read; admin for “why”.')
  $('verdict').dataset.state = 'warn'
  text($('verdict'), 'A token is needed')
  link('wait', 'waiting for a token')
  $('token').focus()
}

const begin = () => watch({ seen: show, lost, refused })

$('login').addEventListener('submit', event => {
  event.preventDefault()
  token.set($('token').value.trim())
  $('token').value = ''
  begin()
})

async function breakIt(fault, on) {
  try {
    panels.demo(await ask('v1/demo', { fault, on }), breakIt)
    text($('demo-says'), '')
  } catch (err) {
    text($('demo-says'), err.message)
  }
}

// lookups asks for what the filter shows, one question at a time. Rows that a person stands on stay.
let asking = false
async function lookups() {
  if (asking) return
  asking = true
  try {
    const filter = $('filter').value
    const found = await ask('v1/lookups?n=60&filter=' + encodeURIComponent(filter))
    $('filter').removeAttribute('aria-invalid')
    const of = `${count(found.matched)} of the last ${count(found.timed)} that were timed: each that memory did not answer, and 1 in 64 hits.`
    text($('filter-says'), paused ? 'Paused. ' + of : of)
    if (!paused && !$('lookups').contains(document.activeElement)) rows(found.lookups)
    if (filter !== $('filter').value) setTimeout(lookups)
  } catch (err) {
    $('filter').setAttribute('aria-invalid', 'true')
    text($('filter-says'), err.message)
  } finally {
    asking = false
  }
}

function rows(list) {
  $('lookups').replaceChildren(...list.map(l => {
    const id = el('button', { type: 'button', class: 'id', title: 'Why this answer?' }, l.id)
    id.addEventListener('click', () => { $('why-id').value = l.id; why() })
    return el('tr', null, el('td', { class: 'time' }, clock(l.at)), el('td', null, id),
      el('td', null, tierDot(l.tier), l.tier), el('td', { class: 'num' }, span(1000 * l.tookMs)))
  }))
}

$('filter-form').addEventListener('submit', event => { event.preventDefault(); lookups() })
$('filter').addEventListener('input', () => lookups())
$('pause').addEventListener('click', () => {
  paused = !paused
  $('pause').setAttribute('aria-pressed', paused)
  if (!paused) lookups()
})

$('why-form').addEventListener('submit', event => { event.preventDefault(); why() })

async function why() {
  const id = $('why-id').value.trim()
  if (!id) return $('why-id').focus()
  try {
    $('why').replaceChildren(tree(await ask(`v1/users/${encodeURIComponent(id)}/why`)))
  } catch (err) {
    const says = err.status === 404 && err.message.startsWith('nothing is served') ? 'This node cannot say why: it has no /v1/users/ID/why.' : err.message
    $('why').replaceChildren(el('p', { class: 'error' }, says))
  }
}

// tree shows JSON as nested lists.
function tree(value) {
  const entries = Array.isArray(value) ? value.map((v, i) => [String(i + 1), v]) : Object.entries(value)
  return el('ul', null, ...entries.map(([key, v]) => {
    const inner = v !== null && typeof v === 'object'
    const empty = inner && !Object.keys(v).length
    return el('li', null, el('span', { class: 'key' }, key), ...(inner && !empty ? [tree(v)] : [empty ? 'none' : String(v)]))
  }))
}

// dead lists the changes that no worker could apply.
async function dead() {
  try {
    const { letters } = await ask('v1/dead?n=20')
    panels.letters(letters)
    text($('dead-says'), letters.length ? `The newest ${count(letters.length)}. edgecache events dead shows what is in them, edgecache events replay puts them back.` : 'There are none.')
  } catch (err) {
    text($('dead-says'), err.message)
  }
}

$('dead-ask').addEventListener('click', dead)

const keys = { '/': () => $('filter').focus(), w: () => $('why-id').focus(), p: () => $('pause').click(), d: () => { $('dead-ask').focus(); dead() } }

document.addEventListener('keydown', event => {
  const field = event.target instanceof HTMLInputElement
  if (event.key === 'Escape' && field) return event.target.blur()
  if (field || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return
  event.preventDefault()
  keys[event.key]()
})

begin()
