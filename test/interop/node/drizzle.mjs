// Drizzle over both drivers: a table, a transaction that is rolled back, one that is committed.

import { sql } from 'drizzle-orm'
import { drizzle as overPg } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { drizzle as overPostgres } from 'drizzle-orm/postgres-js'
import pg from 'pg'
import postgres from 'postgres'

const items = pgTable('drizzle_items', { id: integer().primaryKey(), name: text() })
const url = process.env.LAKEBASE_PG_URL

async function use(name, db) {
  await db.execute(sql`create table drizzle_items (id int primary key, name text)`)
  await db.insert(items).values([
    { id: 1, name: 'one' },
    { id: 2, name: 'two' },
  ])
  await db
    .transaction(async (tx) => {
      await tx.delete(items)
      tx.rollback()
    })
    .catch(() => {})
  const left = await db.select().from(items)
  await db.execute(sql`drop table drizzle_items`)
  console.log(`${name}: ${left.length}`)
}

const pool = new pg.Pool({ connectionString: url })
await use('node-postgres', overPg(pool))
await pool.end()
const client = postgres(url)
await use('postgres.js', overPostgres(client))
await client.end()
