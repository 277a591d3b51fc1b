/** What is deleted of a branch whose creation failed: that branch, and never another with its name. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { makeBranch } from '../src/branches/make-branch.js'
import { connectTo, neverAborted, routes, ScriptedWorkspace } from './support/scripted-workspace.js'

const PROJECT = 'projects/shop'
const SOURCE = `${PROJECT}/branches/production`
const NAME = `${PROJECT}/branches/pr-42`
const API = '/api/2.0/postgres'
const now = (): string => new Date().toISOString()

interface Found {
  readonly uid?: string
  readonly create_time?: string
  readonly source?: string
  /** What the operation ends with. */
  readonly error: object
}

/** The requests that delete, after the creation of `pr-42` has failed and this branch has the name. */
async function deleted(t: TestContext, found: Found): Promise<string[]> {
  const { uid = 'br-1', create_time = now(), source = SOURCE, error } = found
  const operation = { name: `${NAME}/operations/1` }
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      [`POST ${API}/${PROJECT}/branches`]: { body: operation },
      [`GET ${API}/${operation.name}`]: { body: { ...operation, done: true, error } },
      [`GET ${API}/${PROJECT}/branches`]: { body: { branches: [] } },
      [`GET ${API}/${NAME}`]: {
        body: { name: NAME, uid, create_time, status: { source_branch: source } },
      },
      [`DELETE ${API}/${NAME}`]: { body: { name: 'x', done: true } },
    }),
  )
  const branches = await (await connectTo(t, server.host)).branches()
  const plan = { project: PROJECT, source: SOURCE, ids: ['pr-42'], lifeMs: 60_000, now: Date.now() }
  await assert.rejects(makeBranch(branches, plan, neverAborted), { kind: 'target' })
  return server.lines.filter((line) => line.startsWith('DELETE'))
}

const FAILED = { error_code: 'INTERNAL_ERROR', message: 'out of order' }

test('a branch that was begun and failed is deleted', async (t) => {
  assert.deepEqual(await deleted(t, { error: FAILED }), [`DELETE ${API}/${NAME}?purge=true`])
})

test('when the wait for a branch ends early, it is deleted, unless others may have found it', async (t) => {
  const refused = { status: 403, body: { error_code: 'PERMISSION_DENIED', message: 'not yours' } }
  for (const [isShared, reply] of [
    ...[[false, undefined] as const, [true, undefined] as const],
    ...[[false, refused] as const, [true, refused] as const],
  ]) {
    const given = new AbortController()
    const operation = { name: `${NAME}/operations/1` }
    let polls = 0
    const server = await ScriptedWorkspace.start(
      t,
      routes({
        [`POST ${API}/${PROJECT}/branches`]: { body: operation },
        [`GET ${API}/${operation.name}`]: () => {
          if (reply === undefined) given.abort(new Error('given up'))
          return polls++ === 0 && reply !== undefined ? reply : { body: operation }
        },
        [`GET ${API}/${NAME}`]: {
          body: { name: NAME, uid: 'br-1', create_time: now(), status: { source_branch: SOURCE } },
        },
        [`DELETE ${API}/${NAME}`]: { body: { name: 'x', done: true } },
      }),
    )
    const branches = await (await connectTo(t, server.host)).branches()
    const plan = { project: PROJECT, source: SOURCE, ids: ['pr-42'], lifeMs: 60_000, isShared }
    const making = makeBranch(branches, { ...plan, now: Date.now() }, given.signal)
    await assert.rejects(making, reply === undefined ? /given up/ : /not yours/)
    const wasDeleted = server.lines.some((line) => line.startsWith('DELETE'))
    assert.equal(wasDeleted, !isShared)
  }
})

test('a branch of another maker is left alone, also where only the operation says so', async (t) => {
  const taken = { error_code: 'ALREADY_EXISTS', message: 'branch pr-42 already exists' }
  for (const found of [
    { error: taken },
    { error: { message: taken.message } },
    { error: FAILED, source: `${PROJECT}/branches/other` },
    { error: FAILED, create_time: '2026-01-02T03:04:05Z' },
  ]) {
    assert.deepEqual(await deleted(t, found), [], JSON.stringify(found))
  }
})

test('the next name is tried when the operation says that the first is taken', async (t) => {
  const [first, second] = [`${NAME}/operations/1`, `${NAME}-2/operations/1`]
  const error = { error_code: 'ALREADY_EXISTS', message: 'taken' }
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      [`POST ${API}/${PROJECT}/branches`]: ({ query }) => ({
        body:
          query.get('branch_id') === 'pr-42'
            ? { name: first, error, done: true }
            : { name: second, done: true },
      }),
      [`GET ${API}/${NAME}-2`]: { body: { name: `${NAME}-2`, uid: 'br-2' } },
    }),
  )
  const branches = await (await connectTo(t, server.host)).branches()
  const ids = ['pr-42', 'pr-42-2']
  const plan = { project: PROJECT, source: SOURCE, ids, lifeMs: 60_000, now: Date.now() }
  const { name, uid } = await makeBranch(branches, plan, neverAborted)
  assert.deepEqual([name, uid], [`${NAME}-2`, 'br-2'])
})
