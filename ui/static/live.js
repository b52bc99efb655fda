// What is asked of the node: its snapshots, one a second, and single answers.

const key = 'edgecache-token'

export const token = {
  get: () => sessionStorage.getItem(key) ?? '',
  set: text => text ? sessionStorage.setItem(key, text) : sessionStorage.removeItem(key)
}

function headers(more) {
  const bearer = token.get()
  return bearer ? { ...more, Authorization: 'Bearer ' + bearer } : { ...more }
}

// ask returns the JSON of an answer. An error has the node's words and the status.
export async function ask(path, body) {
  const options = body === undefined
    ? { headers: headers() }
    : { method: 'POST', headers: headers({ 'Content-Type': 'application/json' }), body: JSON.stringify(body) }
  const answer = await fetch(path, options)
  if (answer.ok) return answer.json()
  throw await problem(answer)
}

async function problem(answer) {
  let says = answer.status + ' ' + answer.statusText
  try {
    const told = await answer.json()
    says = told.detail ?? says
  } catch { /* no problem document: the status must do */ }
  return Object.assign(new Error(says), { status: answer.status })
}

// quiet is how long nothing may come before the stream counts as lost, in milliseconds.
const quiet = 5000

// watch calls seen with each snapshot until it is lost, and lost with why; then it tries again. What
// needs a token is for refused, and watch ends.
export async function watch({ seen, lost, refused }) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 5000)) {
    try {
      await follow(snapshot => { pause = 500; seen(snapshot) })
      lost(new Error('the node ended the stream'))
    } catch (err) {
      if (err.status === 401 || err.status === 403) return refused(err)
      lost(err)
    }
    await new Promise(done => setTimeout(done, pause))
  }
}

async function follow(seen) {
  const end = new AbortController()
  let late
  const wait = () => {
    clearTimeout(late)
    late = setTimeout(() => end.abort(new Error('the node says nothing any more')), quiet)
  }
  wait()
  try {
    const answer = await fetch('v1/live', { headers: headers({ Accept: 'text/event-stream' }), signal: end.signal })
    if (!answer.ok) throw await problem(answer)
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let text = ''; ;) {
      const { value, done } = await reader.read()
      if (done) return
      wait()
      text += value
      const events = text.split('\n\n')
      text = events.pop()
      for (const event of events) if (event.startsWith('data: ')) seen(JSON.parse(event.slice(6)))
    }
  } finally {
    clearTimeout(late)
  }
}
