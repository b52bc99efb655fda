// What a screen reader has no name for, or stumbles over, in the page as it is shown now.
(() => {
  const found = []
  const shown = e => e.getClientRects().length > 0
  const words = ids => (ids ?? '').split(' ').map(id => document.getElementById(id)?.textContent.trim() ?? '').join(' ').trim()
  const name = e => e.getAttribute('aria-label') || words(e.getAttribute('aria-labelledby')) || (e.labels && [...e.labels].map(l => l.textContent.trim()).join(' ')) || e.textContent.trim() || e.getAttribute('alt') || e.title
  const say = (what, e) => found.push(`${what}: ${e.outerHTML.slice(0, 120)}`)
  for (const e of document.querySelectorAll('button, input, a[href], [role=img], [role=meter], [role=region], [tabindex="0"]')) {
    if (shown(e) && !name(e)) say('without a name', e)
  }
  for (const e of document.querySelectorAll('section, form[role=search]')) {
    if (shown(e) && e.matches('section') && !words(e.getAttribute('aria-labelledby'))) say('a part without a title', e)
  }
  for (const e of document.querySelectorAll('svg')) {
    if (e.getAttribute('role') !== 'img' && !e.closest('[aria-hidden=true]')) say('a picture that is neither told nor hidden', e)
  }
  for (const e of document.querySelectorAll('th')) if (!e.scope) say('a column head without scope', e)
  for (const attribute of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for']) {
    for (const e of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of e.getAttribute(attribute).split(' ')) if (!document.getElementById(id)) say(`${attribute} of what is not there`, e)
    }
  }
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id)
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) found.push('twice the id ' + id)
  let level = 0
  for (const e of document.querySelectorAll('h1, h2, h3, h4')) {
    if (!shown(e)) continue
    const now = Number(e.tagName[1])
    if (now > level + 1) say(`a heading of level ${now} after one of ${level}`, e)
    level = now
  }
  if (!document.documentElement.lang || !document.title || document.querySelectorAll('main').length !== 1) found.push('no language, title or main part')
  return found
})()
