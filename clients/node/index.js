// Asks edgecache nodes for user profiles over HTTP; see README.md and index.d.ts.

/** How many ids a node takes at once. */
export const MAX_BATCH = 10_000

const ID = /^[A-Za-z0-9._:@-]{1,128}$/
const MAX_PAUSE = 10_000 // ms that a node may ask to wait
const PASSING = new Set([429, 502, 503, 504])

/** A request that failed: status 0 without an answer, else with what the node says of it (RFC 9457). */
export class EdgecacheError extends Error {
  constructor (message, { status = 0, problem = '', detail = '', rule = '', retryAfter = 0, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'EdgecacheError'
    Object.assign(this, { status, problem, detail, rule, retryAfter })
  }

  get notFound () { return this.problem === 'user-not-found' }
  get invalidId () { return this.problem === 'invalid-id' }
  get conflict () { return this.status === 409 }
  get unauthorized () { return this.status === 401 }
  get forbidden () { return this.status === 403 }
  get limited () { return this.status === 429 }
  get unavailable () { return this.status === 0 || this.status >= 500 }
}

export class EdgecacheClient {
  #base; #token; #timeout; #retries; #remember; #batchSize; #parallel; #fetch
  #held = new Map() // id -> { etag, profile }, the latest last

  constructor ({ url, token, timeout = 5000, retries = 2, remember = 10_000, batchSize = 1000, parallel = 4, fetch = globalThis.fetch } = {}) {
    const base = URL.canParse(url) ? new URL(url) : undefined
    if (!base || !['http:', 'https:'].includes(base.protocol) || base.search || base.hash) {
      throw new TypeError('url is no URL of a node; want http://HOST:PORT')
    }
    for (const [name, value, least, most] of [['timeout', timeout, 1, Infinity], ['retries', retries, 0, Infinity],
      ['remember', remember, 0, Infinity], ['batchSize', batchSize, 1, MAX_BATCH], ['parallel', parallel, 1, Infinity]]) {
      if (!(value >= least && value <= most)) throw new RangeError(`${name} is ${value}; want ${least} to ${most}`)
    }
    this.#base = base.href.replace(/\/+$/, '')
    this.#token = typeof token === 'function' ? token : () => token
    this.#timeout = timeout
    this.#retries = retries
    this.#remember = remember
    this.#batchSize = batchSize
    this.#parallel = parallel
    this.#fetch = fetch
  }

  /** One profile. Rejects with an EdgecacheError whose notFound is true when there is no such user. */
  async get (id, { minVersion, maxAge, signal } = {}) {
    const held = this.#held.get(checkId(id))
    const headers = {}
    if (maxAge !== undefined) headers['cache-control'] = maxAge >= 1 ? `max-age=${Math.floor(maxAge)}` : 'no-cache'
    if (held) headers['if-none-match'] = held.etag
    const query = minVersion === undefined ? '' : `?minVersion=${minVersion}`
    const answer = await this.#ask('GET', userPath(id) + query, { headers, signal, again: true })
    const result = {
      tier: /detail=([\w.]+)/.exec(answer.headers.get('cache-status') ?? '')?.[1] ?? '',
      age: Number(answer.headers.get('age') ?? 0),
      same: answer.status === 304 && held !== undefined
    }
    result.profile = result.same ? held.profile : parse(answer.text)
    if (result.profile?.id !== id) throw new EdgecacheError(`get ${id}: the answer is no profile of that user`, { status: answer.status })
    if (!result.same) this.#keep(id, answer.headers.get('etag'), result.profile)
    return result
  }

  /** Many profiles; each id is in exactly one of users, missing and errors. Split where the node wants it. */
  async getMany (ids, { signal } = {}) {
    const unique = [...new Set(ids)]
    const parts = []
    for (let i = 0; i < unique.length; i += this.#batchSize) parts.push(unique.slice(i, i + this.#batchSize))
    const all = { users: {}, missing: [], errors: {} }
    const next = parts.values()
    const work = async () => {
      for (const part of next) {
        const answer = await this.#ask('POST', '/v1/users/batch', { body: JSON.stringify({ ids: part }), signal, again: true })
        const batch = parse(answer.text)
        if (!batch?.users) throw new EdgecacheError('the answer is no batch', { status: answer.status })
        Object.assign(all.users, batch.users)
        all.missing.push(...batch.missing)
        Object.assign(all.errors, batch.errors)
      }
    }
    await Promise.all(Array.from({ length: Math.min(this.#parallel, parts.length) }, work))
    return all
  }

  /** Tells the cache what the source of truth already says; profile.updatedAt is its version. Never tried again. */
  async put (profile, { signal } = {}) {
    await this.#ask('PUT', userPath(checkId(profile.id)), { body: JSON.stringify(profile), signal })
  }

  /** Makes Redis and every node forget a user. */
  async invalidate (id, { signal } = {}) {
    await this.#ask('POST', `${userPath(checkId(id))}/invalidate`, { signal, again: true })
  }

  /** Whether the node may have requests. */
  async ready ({ signal } = {}) {
    try {
      await this.#ask('GET', '/readyz', { signal })
      return true
    } catch (err) {
      if (err instanceof EdgecacheError && err.unavailable) return false
      throw err
    }
  }

  async stats (options) { return this.#json('GET', '/v1/stats', options) }
  async cluster (options) { return this.#json('GET', '/v1/cluster', options) }
  async prewarm (options) { return this.#json('GET', '/v1/prewarm', options) }
  async beginPrewarm (settings = {}, { signal } = {}) {
    return parse((await this.#ask('POST', '/v1/prewarm', { body: JSON.stringify(settings), signal })).text)
  }

  async cancelPrewarm ({ signal } = {}) { await this.#ask('DELETE', '/v1/prewarm', { signal }) }

  async #json (method, path, { signal } = {}) {
    return parse((await this.#ask(method, path, { signal, again: true })).text)
  }

  #keep (id, etag, profile) {
    if (!etag || this.#remember === 0) return
    this.#held.delete(id)
    if (this.#held.size >= this.#remember) this.#held.delete(this.#held.keys().next().value)
    this.#held.set(id, { etag, profile: Object.freeze(profile) })
  }

  async #ask (method, path, request) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#try(method, path, request)
      } catch (err) {
        request.signal?.throwIfAborted()
        const passing = err instanceof EdgecacheError && (err.status === 0 || PASSING.has(err.status))
        if (!passing || !request.again || attempt > this.#retries) throw err
        await pause(Math.max(backoff(attempt), Math.min(err.retryAfter * 1000, MAX_PAUSE)), request.signal)
      }
    }
  }

  async #try (method, path, { body, headers = {}, signal }) {
    const all = { accept: 'application/json', ...headers }
    if (body !== undefined || method === 'POST') all['content-type'] = 'application/json'
    const token = await this.#token()
    if (token) all.authorization = `Bearer ${token}`
    const limit = AbortSignal.timeout(this.#timeout)
    let answer, text
    try {
      answer = await this.#fetch(this.#base + path, {
        method, body, headers: all, redirect: 'manual', signal: signal ? AbortSignal.any([signal, limit]) : limit
      })
      text = await answer.text()
    } catch (cause) {
      signal?.throwIfAborted()
      const why = limit.aborted ? `no answer within ${this.#timeout} ms` : cause.cause?.message ?? cause.message
      throw new EdgecacheError(`${method} ${path}: ${why}`, { cause })
    }
    if (answer.ok || answer.status === 304) return { status: answer.status, headers: answer.headers, text }
    throw refused(method, path, answer, text)
  }
}

function refused (method, path, answer, text) {
  const kind = answer.headers.get('content-type') ?? ''
  const p = kind.startsWith('application/problem+json') ? parse(text) ?? {} : {}
  return new EdgecacheError(`${method} ${path}: ${answer.status} ${p.detail ?? answer.statusText}`, {
    status: answer.status,
    problem: /#([a-z0-9-]+)$/.exec(p.type ?? '')?.[1] ?? '',
    detail: p.detail ?? '',
    rule: p.rule ?? '',
    retryAfter: Number(answer.headers.get('retry-after') ?? 0) || 0
  })
}

function checkId (id) {
  if (typeof id === 'string' && ID.test(id)) return id
  throw new EdgecacheError(`invalid id ${JSON.stringify(id)}; want 1-128 bytes of [A-Za-z0-9._:@-]`, { problem: 'invalid-id', status: 400 })
}

function userPath (id) { return `/v1/users/${encodeURIComponent(id)}` }

function parse (text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// At most a second, less a random half, so that those who failed together do not come back together.
function backoff (attempt) {
  const most = Math.min(1000, 50 * 2 ** (attempt - 1))
  return most / 2 + Math.random() * most / 2
}

function pause (ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms)
    function done () {
      signal?.removeEventListener('abort', abort)
      resolve()
    }
    function abort () {
      clearTimeout(timer)
      reject(signal.reason)
    }
    signal?.addEventListener('abort', abort, { once: true })
  })
}
