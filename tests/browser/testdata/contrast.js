(() => {
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number)
    return { r, g, b, a: text === 'transparent' ? 0 : a }
  }
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1
  })
  const behind = e => {
    const layers = []
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor))
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 })
  }
  const light = c => [c.r, c.g, c.b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)
  const faint = []
  let seen = 0
  for (const e of document.body.querySelectorAll('*')) {
    const says = [...e.childNodes].filter(n => n.nodeType === Node.TEXT_NODE).map(n => n.data.trim()).join('')
    if (!says || !e.getClientRects().length || e.className === 'skip') continue
    const style = getComputedStyle(e), size = parseFloat(style.fontSize)
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700
    const under = behind(e instanceof SVGElement ? e.ownerSVGElement.parentElement : e)
    const got = ratio(over(parse(e instanceof SVGElement ? style.fill : style.color), under), under)
    seen++
    if (got < (large ? 3 : 4.5)) faint.push(`${says.slice(0, 40)}: ${got.toFixed(2)} (${e.tagName} ${e.className})`)
  }
  return seen < 50 ? [`only ${seen} texts were seen`] : faint
})()
