// Against a node with the users 1 to 5000; the Go test beside this folder starts one and sets the environment.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { EdgecacheClient, EdgecacheError } from '../index.js'

const { EDGECACHE_URL: url, EDGECACHE_READER: reader, EDGECACHE_ADMIN: admin } = process.env
const client = options => new EdgecacheClient({ url, token: admin, ...options })

test('a profile is remembered, and asked about', async () => {
  const users = client()
  const first = await users.get('7')
  assert.equal(first.profile.nom, 'Nom7')
  assert.equal(first.same, false)
  const again = await users.get('7', { maxAge: 3600 })
  assert.equal(again.same, true)
  assert.equal(again.profile, first.profile)
  assert.equal(again.tier, 'L1')
  assert.throws(() => { again.profile.nom = 'x' }, TypeError)
})

test('put, its version, and invalidate', async () => {
  const users = client()
  const { profile } = await users.get('8')
  const newer = { ...profile, nom: 'Neu', updatedAt: profile.updatedAt + 5 }
  await users.put(newer)
  assert.equal((await users.get('8', { minVersion: newer.updatedAt })).profile.nom, 'Neu')
  await assert.rejects(users.put(profile), err => err.conflict && err.problem === 'version-conflict')
  await users.invalidate('8')
  assert.equal((await users.get('8', { maxAge: 0 })).profile.nom, 'Nom8')
})

test('many users are split', async () => {
  let requests = 0
  const users = client({ batchSize: 1000, fetch: (...args) => { requests++; return fetch(...args) } })
  const ids = Array.from({ length: 5200 }, (_, i) => String(i + 1))
  const got = await users.getMany([...ids, ...ids, 'a b'])
  assert.equal(Object.keys(got.users).length, 5000)
  assert.equal(got.missing.length, 200)
  assert.match(got.errors['a b'], /invalid id/)
  assert.equal(requests, 6)
  assert.deepEqual(await users.getMany([]), { users: {}, missing: [], errors: {} })
})

test('errors say what is wrong', async () => {
  const users = client({ token: async () => reader })
  await assert.rejects(users.get('9999'), err => err instanceof EdgecacheError && err.notFound && err.status === 404)
  await assert.rejects(users.get('a b'), err => err.invalidId)
  await assert.rejects(users.invalidate('1'), err => err.forbidden && /role invalidate/.test(err.detail))
  await assert.rejects(client({ token: undefined }).get('1'), err => err.unauthorized)
  await assert.rejects(client({ url: 'http://127.0.0.1:1', retries: 0 }).get('1'), err => err.unavailable && err.status === 0)
  assert.throws(() => new EdgecacheClient({ url: 'ftp://x' }), TypeError)
  assert.throws(() => new EdgecacheClient({ url, batchSize: 10_001 }), RangeError)
})

test('the node and the cluster', async () => {
  const users = client()
  assert.equal(await client({ token: undefined }).ready(), true)
  assert.ok((await users.stats()).cache)
  assert.equal((await users.cluster()).members.length, 1)
  assert.ok((await users.beginPrewarm({ maxUsers: 1 })).state)
  assert.ok((await users.prewarm()).state)
})

// flaky answers with the statuses, one after another, and then with a profile.
async function flaky (t, ...statuses) {
  const seen = []
  const server = createServer((req, res) => {
    seen.push(req.method)
    const status = statuses[seen.length - 1]
    if (status === 0) return req.socket.destroy()
    if (status === undefined) return res.setHeader('etag', '"1"').end('{"id":"1","updatedAt":1}')
    if (status === 'silent') return
    res.writeHead(status, status === 429 ? { 'retry-after': '1' } : {}).end()
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections(); server.close() })
  return { seen, users: new EdgecacheClient({ url: `http://127.0.0.1:${server.address().port}`, timeout: 500 }) }
}

test('what is tried again', async t => {
  for (const [statuses, asked] of [[[503], 2], [[0, 502], 3], [[429], 2]]) {
    const { seen, users } = await flaky(t, ...statuses)
    assert.equal((await users.get('1')).profile.id, '1')
    assert.equal(seen.length, asked)
  }
  const often = await flaky(t, 503, 503, 503)
  await assert.rejects(often.users.get('1'), err => err.status === 503)
  assert.equal(often.seen.length, 3)
  const put = await flaky(t, 503)
  await assert.rejects(put.users.put({ id: '1', updatedAt: 1 }), err => err.status === 503)
  assert.equal(put.seen.length, 1)
})

test('timeouts and signals', async t => {
  const silent = await flaky(t, 'silent', 'silent', 'silent')
  await assert.rejects(silent.users.get('1'), /no answer within 500 ms/)
  const reason = new Error('gone')
  await assert.rejects(silent.users.get('1', { signal: AbortSignal.abort(reason) }), err => err === reason)
})
