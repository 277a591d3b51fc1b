/** What may be named as a TARGET, and what the user reads when it may not. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'

import fc from 'fast-check'

import { parseTarget } from '../src/config/schema/targets.js'
import { ProxyError } from '../src/core/errors.js'

const HOST = 'ep-cool-name-1234.database.us-west-2.cloud.databricks.com'

function parsed(text: string): Record<string, unknown> {
  const { name, target, options } = parseTarget(text)
  return { name, ...target, options: Object.fromEntries(options) }
}

function refusal(text: string): ProxyError {
  try {
    parseTarget(text)
  } catch (error) {
    assert.ok(error instanceof ProxyError && error.kind === 'config', String(error))
    return error
  }
  assert.fail(`${text} was taken`)
}

test('each form of a TARGET is told apart by its form alone', () => {
  const none = { options: {} }
  const table: [string, Record<string, unknown>][] = [
    ['my-instance', { name: 'my-instance', kind: 'provisioned', instance: 'my-instance', ...none }],
    ['projects/p', { name: 'projects/p', kind: 'autoscaling', project: 'p', ...none }],
    [
      'projects/p/branches/b',
      { name: 'projects/p/branches/b', kind: 'autoscaling', project: 'p', branch: 'b', ...none },
    ],
    [
      'projects/p/branches/b/endpoints/e',
      {
        name: 'projects/p/branches/b/endpoints/e',
        kind: 'autoscaling',
        project: 'p',
        branch: 'b',
        endpoint: 'e',
        ...none,
      },
    ],
    [HOST.toUpperCase(), { name: HOST.toUpperCase(), kind: 'host', host: HOST, ...none }],
    [
      'instance-0a1b.database.azuredatabricks.net.',
      {
        name: 'instance-0a1b.database.azuredatabricks.net.',
        kind: 'host',
        host: 'instance-0a1b.database.azuredatabricks.net',
        ...none,
      },
    ],
  ]
  for (const [text, expected] of table) assert.deepEqual(parsed(text), expected)
})

test('settings of a target stand in its query, percent-encoded, and a switch needs no value', () => {
  const { options } = parsed('a?port=6000&read-only&user=alice+dev%40example.com')
  assert.deepEqual(options, { port: '6000', 'read-only': 'true', user: 'alice+dev@example.com' })
})

test('a URL with a password is a static target, in all its schemes', () => {
  for (const scheme of ['postgres', 'postgresql', 'postgresql+psycopg']) {
    const { target, options, name } = parseTarget(`${scheme}://app:p%40ss@db.example.com:6432/shop`)
    assert.equal(name, `${scheme}://app@db.example.com:6432/shop`)
    assert.equal(target.kind, 'static')
    if (target.kind !== 'static') return
    assert.equal(target.password.reveal(), 'p@ss')
    assert.deepEqual([target.host, target.user], ['db.example.com', 'app'])
    assert.deepEqual(Object.fromEntries(options), {
      database: 'shop',
      user: 'app',
      'upstream-port': '6432',
    })
  }
})

test('a bare @ in the user name or the password of a URL is understood', () => {
  const { target } = parseTarget('postgresql://alice@example.com:p@ss@h/db')
  assert.ok(target.kind === 'static')
  const { user, host, password } = target
  assert.deepEqual([user, host, password.reveal()], ['alice@example.com', 'h', 'p@ss'])
})

test('an IPv6 host stands in brackets', () => {
  const { target, options } = parseTarget('postgresql://u:p@[2001:db8::1]:5433/db')
  assert.ok(target.kind === 'static')
  assert.equal(target.host, '2001:db8::1')
  assert.equal(options.get('upstream-port'), '5433')
})

test('a URL of a Lakebase host without a password gets a token, as its user and on its database', () => {
  const { options, ...rest } = parsed(
    `postgresql://alice%40example.com@${HOST}/shop?sslmode=require`,
  )
  assert.deepEqual(rest, {
    name: `postgresql://alice%40example.com@${HOST}/shop`,
    kind: 'host',
    host: HOST,
  })
  assert.deepEqual(options, {
    sslmode: 'verify-full',
    database: 'shop',
    user: 'alice@example.com',
  })
})

test('every sslmode that asks for TLS gets full verification, and a weaker one is an error', () => {
  for (const mode of ['require', 'verify-ca', 'verify-full']) {
    const { options } = parseTarget(`postgresql://u:p@h/db?sslmode=${mode}`)
    assert.equal(options.get('sslmode'), 'verify-full')
  }
  for (const mode of ['disable', 'allow', 'prefer', 'requrie', '']) {
    assert.match(refusal(`postgresql://u:p@h/db?sslmode=${mode}`).message, /weaker than this proxy/)
  }
})

test("libpq's parameters of a URL are followed, left to the client, or refused by name", () => {
  const { options, target } = parseTarget(
    'postgresql://h/?user=u&password=p&dbname=d&port=7&hostaddr=10.0.0.1&sslrootcert=ca.pem&application_name=x&connect_timeout=3&channel_binding=prefer&max_protocol_version=3.2',
  )
  assert.ok(target.kind === 'static')
  assert.equal(target.password.reveal(), 'p')
  assert.deepEqual(Object.fromEntries(options), {
    user: 'u',
    database: 'd',
    'upstream-port': '7',
    hostaddr: '10.0.0.1',
    sslrootcert: 'ca.pem',
  })
  assert.match(refusal('postgresql://u:p@h/d?sslmod=require').hint!, /Did you mean "sslmode"\?/)
  assert.match(refusal('postgresql://u:p@h/d?sslnegotiation=direct').message, /cannot be met/)
  assert.match(refusal('postgresql://u:p@h/d?options=-csearch_path%3Dx').message, /options/)
  assert.match(refusal('postgresql://u:p@h/d?drain-timeout=3s').hint!, /flag, variable or file/)
})

test('what cannot be met between a client and a server is refused with its reason', () => {
  for (const start of [`postgresql://${HOST}/d`, 'postgresql://u:p@h/d']) {
    const binding = refusal(`${start}?channel_binding=require`)
    assert.match(binding.message, /cannot be met: the proxy stands between client and server/)
    assert.match(binding.hint!, /verified all the same: leave it out/)
    for (const version of ['3.2', 'latest']) {
      const protocol = refusal(`${start}?min_protocol_version=${version}`)
      assert.match(protocol.message, /cannot be met: the proxy speaks 3\.0/)
    }
    for (const harmless of ['min_protocol_version=3.0', 'max_protocol_version=latest']) {
      parseTarget(`${start}?${harmless}&channel_binding=disable`)
    }
  }
})

test('a parameter of a client library is refused with where it belongs', () => {
  for (const key of ['schema', 'pgbouncer', 'uselibpqcompat']) {
    const { message, hint } = refusal(`postgresql://u:p@h/d?${key}=true`)
    assert.ok(message.includes(`unsupported parameter "${key}"`), message)
    assert.match(hint!, /stays in the application's own URL/)
  }
})

test('a URL is named by what it is for, wherever in the URL that stands', () => {
  const table: [string, string][] = [
    ['postgresql:///db?host=a.example.com&user=u&password=p', 'postgresql://u@a.example.com/db'],
    ['postgresql://u:p@b/?host=a&port=7&dbname=d', 'postgresql://u@a:7/d'],
    ['postgresql:///d?user=x%40y&password=p&host=::1', 'postgresql://x%40y@[::1]/d'],
  ]
  for (const [text, name] of table) assert.equal(parseTarget(text).name, name)
})

test('a URL is unwrapped from quotation marks and from psql', () => {
  const { name, target, options } = parseTarget('postgresql://u:p@h/d?sslmode=require')
  for (const text of [
    `psql 'postgresql://u:p@h/d?sslmode=require'`,
    `psql "postgresql://u:p@h/d?sslmode=require"`,
    `psql postgresql://u:p@h/d?sslmode=require`,
    `'postgresql://u:p@h/d?sslmode=require'`,
    `"postgresql://u:p@h/d?sslmode=require"`,
  ]) {
    const unwrapped = parseTarget(text)
    assert.deepEqual([unwrapped.name, unwrapped.options], [name, options], text)
    assert.equal(unwrapped.target.kind, target.kind)
  }
})

test('what is malformed is named, with the nearest right form', () => {
  const table: [string, RegExp, RegExp][] = [
    ['', /empty/, /my-instance/],
    ['project/p', /is not projects/, /Did you mean "projects\/p"/],
    ['projects/p/', /is not projects/, /Did you mean "projects\/p"/],
    ['/projects/p', /is not projects/, /Did you mean "projects\/p"/],
    ['projects/p/endpoints/e', /is not projects/, /"projects\/p\/branches\/B\/endpoints\/e"/],
    ['projects/p/branch/b', /is not projects/, /"projects\/p\/branches\/b"/],
    ['my-instance:6000', /holds a port/, /my-instance\?port=6000/],
    [`${HOST}:5433`, /holds a port/, /\?upstream-port=5433/],
    ['db.example.com', /not a Lakebase host/, /postgresql:\/\/user:password@db.example.com/],
    ['a?prot=1', /unknown option "prot"/, /Did you mean "port"/],
    ['a?port=1&port=2', /port twice/, /Leave one/],
    ['a?port', /no value/, /port=VALUE/],
    ['a?user=%zz', /percent-encoded/, /%25/],
    ['a?drain-timeout=3s', /whole proxy/, /--drain-timeout or LAKEBASE_PROXY_DRAIN_TIMEOUT/],
    ['jdbc:postgresql://h/db', /JDBC/, /Drop "jdbc:"/],
    ['https://x.cloud.databricks.com', /web address/, /--databricks-host/],
    ['mysql://h/db', /scheme/, /postgresql:\/\//],
    ['postgresql:///db', /no host/, /postgresql:\/\/user/],
    ['postgresql://u@h/db', /no password/, /Lakebase host/],
    ['postgresql://:p@h/db', /no user/, /user:password/],
    ['postgresql://u:p@h1,h2/db', /several hosts/, /TARGET of its own/],
    ['postgresql://u:p@%2Ftmp/db', /Unix socket/, /TCP/],
    ['postgresql://u:p@h:0/db', /port of the URL/, /postgresql:\/\/user/],
    ['postgresql://u:p@h/db/more', /more than a database/, /postgresql:\/\/user/],
    [`postgresql://client@${HOST}/db`, /means something else/, /--user/],
  ]
  for (const [text, message, hint] of table) {
    const error = refusal(text)
    assert.match(error.message, message, text)
    assert.match(error.hint ?? '', hint, text)
  }
})

test('no error and no print of a target shows a piece of its password', () => {
  const texts = [
    'postgresql://u:hun/ter2@h/db',
    'postgresql://u:hun?ter2@h/db',
    'postgresql://u:p@hun?ter2&x@h/db',
    'postgresql://u:hunter2@h:x/db',
    'postgresql://u:hunter2',
    'postgresql://u:hunter2@/db',
    'postgresql://u:hunter2@[::1/db',
    'postgresql://u:%zzhunter2@h/db',
    'mysql://u:hunter2@h/db',
    'u:hunter2@h/db',
    'postgresql://u:hunter2@h/db?password=hunter2&password=ter2',
    'postgresql://u:p@h/db?sslmode=x;hunter2',
    'postgresql://u:p@h/db?sslnegotiation=hunter2%20x',
    'postgresql://u:p@h/db?%20hunter2',
    'host=h user=u password=hunter2',
    'password=hunter2',
    'host=h user=u password=hunter2?x',
    'Host=h;Username=u;Password=hunter2',
    'Server=h;User Id=u;Password=hunter2;',
    'PGPASSWORD=hunter2 psql -h h',
    'psql -h h -W hunter2',
    'h/hunter2 x',
    'a?%20hunter2=1',
    'a?b@hunter2=1',
    'hunter2://u@h',
    `a ${'hunter2'.repeat(20)}`,
    'hunter2'.repeat(20),
  ]
  for (const text of texts) {
    const error = refusal(text)
    assert.doesNotMatch(`${error.message} ${error.hint}`, /hun|ter2/, text)
  }
  const good = parseTarget('postgresql://u:hunter2@h/db')
  assert.doesNotMatch(inspect(good, { depth: 9 }) + JSON.stringify(good), /hunter2/)
})

test('any text at all is a target or one clear refusal', () => {
  const pieces = fc.constantFrom(
    ...['postgresql://', 'u:p@', '@', ':', '/', '?', '&', '=', '%', '%00', '[', ']', '::1', ','],
    ...['projects/', 'branches/', 'ep-', '.database.', 'a', 'port=1', 'sslmode=', ' ', '\0', 'é'],
  )
  const texts = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(texts, (text) => {
      try {
        assert.notEqual(parseTarget(text).name, '')
      } catch (error) {
        assert.ok(
          error instanceof ProxyError && error.kind === 'config' && error.hint,
          String(error),
        )
      }
    }),
    { numRuns: 5_000 },
  )
})
