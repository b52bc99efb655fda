// Shows users as a node sees them: node examples/lookup.js ID...
// EDGECACHE_URL names the node, EDGECACHE_TOKEN is the bearer token, where one is needed.
import { EdgecacheClient } from '../index.js'

const users = new EdgecacheClient({
  url: process.env.EDGECACHE_URL ?? 'http://127.0.0.1:8003',
  token: process.env.EDGECACHE_TOKEN
})

for (const id of process.argv.slice(2)) {
  try {
    const { profile, tier, age } = await users.get(id)
    console.log(`${profile.id}: ${profile.fullName} (from ${tier}, ${age} s old)`)
  } catch (err) {
    if (!err.notFound) throw err
    console.log(`${id}: no such user`)
  }
}
