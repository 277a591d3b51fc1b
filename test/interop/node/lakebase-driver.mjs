// Databricks' own SDK and driver for Node.js against the emulated workspace and its front door.
// Each step prints a line. PROXY_PORT is where lakebase-proxy listens. Needs Node.js 22.

import { randomUUID } from 'node:crypto'
import dns from 'node:dns'

import {
  createLakebasePool,
  generateDatabaseCredential,
  getUsernameWithApiLookup,
} from '@databricks/lakebase'
import { WorkspaceClient } from '@databricks/sdk-experimental'
import pg from 'pg'

const asIs = dns.lookup
// The names of the front door are known to the emulator's DNS server only.
dns.lookup = (host, ...rest) => asIs(host.includes('.database.') ? '127.0.0.1' : host, ...rest)

const step = (name, value) => console.log(`${name}: ${value}`)
const whoIsThere = async (client) => {
  await client.connect?.()
  const { rows } = await client.query('select current_user as name')
  await client.end()
  return rows[0].name
}

const w = new WorkspaceClient({})
const user = (await w.currentUser.me()).userName
step('me', user)
const names = []
for await (const each of w.database.listDatabaseInstances({})) names.push(each.name)
step('instances', names)
const instance = await w.database.getDatabaseInstance({ name: 'demo-instance' })
await w.database.findDatabaseInstanceByUid({ uid: instance.uid })
const credential = await w.database.generateDatabaseCredential({
  request_id: randomUUID(),
  instance_names: ['demo-instance'],
})
const direct = { port: process.env.PGPORT, database: process.env.PGDATABASE, user, ssl: true }
step(
  'login, provisioned',
  await whoIsThere(
    new pg.Client({ ...direct, host: instance.read_write_dns, password: credential.token }),
  ),
)

// The driver: PGHOST, PGPORT, PGDATABASE and LAKEBASE_ENDPOINT are in the environment.
step('driver, user', await getUsernameWithApiLookup())
const minted = await generateDatabaseCredential(w, { endpoint: process.env.LAKEBASE_ENDPOINT })
step('driver, credential expires', minted.expire_time > new Date().toISOString())
const pool = createLakebasePool({ user })
const { rows } = await pool.query('select current_user as name')
await pool.end()
step('login, autoscaling', rows[0].name)

const local = { host: '127.0.0.1', port: process.env.PROXY_PORT, user: 'any', ssl: false }
step('through the proxy', await whoIsThere(new pg.Client(local)))
