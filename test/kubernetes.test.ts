/** The manifests under docker/kubernetes are what Kubernetes takes, and safe to copy. */

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { test } from 'node:test'

import { parse, parseAllDocuments } from 'yaml'

import { loadConfig } from '../src/config/resolve/config.js'
import { SETTING_NAMES, variableOf } from '../src/config/schema/table.js'
import { issueCertificate, makeAuthority } from '../src/core/certificates.js'

const FOLDER = 'docker/kubernetes'
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'))

interface TypeMeta {
  apiVersion: string
  kind: string
}

interface Manifest extends TypeMeta {
  metadata: { name: string }
  data?: Record<string, string>
  spec?: {
    unhealthyPodEvictionPolicy?: string
    replicas?: number
    serviceName?: string
    selector?: Record<string, string>
    template?: { metadata?: { labels?: Record<string, string> }; spec: PodSpec }
  }
}

interface NetworkPolicy {
  podSelector: { matchLabels: Record<string, string> }
  policyTypes: string[]
  ingress: {
    from?: { namespaceSelector?: { matchLabels: Record<string, string> } }[]
    ports?: { protocol: string; port: number | string; endPort?: number }[]
  }[]
}

interface PodSpec {
  automountServiceAccountToken?: boolean
  terminationGracePeriodSeconds?: number
  securityContext?: { seccompProfile?: { type: string }; fsGroup?: number }
  initContainers?: Container[]
  containers: Container[]
  topologySpreadConstraints?: { topologyKey: string; matchLabelKeys?: string[] }[]
  volumes?: { name: string; secret?: { defaultMode: number } }[]
}

interface Container {
  name: string
  image: string
  restartPolicy?: string
  args?: string[]
  env?: EnvVar[]
  ports?: { name: string; containerPort: number }[]
  startupProbe?: Probe
  readinessProbe?: Probe
  livenessProbe?: Probe
  volumeMounts?: { name: string; mountPath: string }[]
  securityContext?: object
  resources?: { requests?: object; limits?: { memory?: string } }
}

interface EnvVar {
  name: string
  value: string
  valueFrom?: { fieldRef: { fieldPath: string } }
}

interface Probe {
  timeoutSeconds?: number
}

/** As kubectl reads it: YAML 1.1, where 0440 is octal. */
function manifestsOf(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8'), { version: '1.1' }).map(
    (document) => {
      assert.deepEqual([document.errors, document.warnings], [[], []])
      return document.toJS() as Manifest
    },
  )
}

/** Every container of every manifest, with the pod it is in. */
function containersOf(file: string): { pod: PodSpec; container: Container }[] {
  return manifestsOf(file).flatMap(({ spec }) => {
    const pod = spec?.template?.spec
    if (pod === undefined) return []
    return [...(pod.initContainers ?? []), ...pod.containers].map((container) => ({
      pod,
      container,
    }))
  })
}

/** The label by which Kubernetes tells the pods of one version from those of another. */
const VERSION_LABELS = new Map([
  ['Deployment', 'pod-template-hash'],
  ['StatefulSet', 'controller-revision-hash'],
])

function isProxy({ image }: Container): boolean {
  return image.startsWith('lakebase-proxy:')
}

/** Reads the way the schema's validator does, and gives back the fields that it never asked for. */
function watch(value: unknown, path: string, unread: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([key, child]): [string, unknown] => {
    const at = `${path}.${key}`
    unread.add(at)
    return [key, watch(child, at, unread)]
  })
  const watched = Array.isArray(value)
    ? fields.map(([, child]) => child)
    : Object.fromEntries(fields)
  return new Proxy(watched, {
    get(target, key, receiver) {
      unread.delete(`${path}.${String(key)}`)
      return Reflect.get(target, key, receiver)
    },
  })
}

interface Schema {
  new (data: object): object
  readonly prototype: { validate(this: unknown): void }
}

async function schemaOf({ apiVersion, kind }: TypeMeta): Promise<Schema> {
  const models = (await import(`kubernetes-models/${apiVersion}`)) as Record<string, Schema>
  const schema = models[kind]
  assert.ok(schema !== undefined, `Kubernetes has no ${kind} in ${apiVersion}`)
  return schema
}

/** Throws when a field is missing or of the wrong type; returns the fields Kubernetes has not. */
async function unknownFields(manifest: TypeMeta): Promise<string[]> {
  const schema = await schemaOf(manifest)
  const unread = new Set<string>()
  schema.prototype.validate.call(watch(manifest, manifest.kind, unread))
  return [...unread]
}

test('the check itself sees a misspelt field, a missing one and a wrong type', async () => {
  const pod = (container: object) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a' },
    spec: { containers: [container] },
  })
  assert.deepEqual(await unknownFields(pod({ name: 'a', image: 'b', imagePolicy: 'Always' })), [
    'Pod.spec.containers.0.imagePolicy',
  ])
  await assert.rejects(unknownFields(pod({ image: 'b' })), /name/)
  await assert.rejects(unknownFields(pod({ name: 'a', args: 'start' })), /array/)
})

for (const file of FILES) {
  test(`${file} holds to the Kubernetes schemas, with no field that they do not know`, async () => {
    for (const manifest of manifestsOf(file)) assert.deepEqual(await unknownFields(manifest), [])
  })

  test(`${file} runs every container without root, capabilities or a writable file system`, () => {
    for (const { pod, container } of containersOf(file)) {
      assert.deepEqual(container.securityContext, {
        runAsNonRoot: true,
        runAsUser: 1000,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      assert.equal(pod.securityContext?.seccompProfile?.type, 'RuntimeDefault')
      assert.equal(pod.automountServiceAccountToken, false)
      assert.ok(container.resources?.requests && container.resources.limits?.memory)
    }
  })

  test(`${file} gives secrets as files that others cannot read, and none in the environment`, () => {
    for (const { pod, container } of containersOf(file)) {
      for (const { secret } of pod.volumes ?? []) assert.equal(secret?.defaultMode ?? 0o440, 0o440)
      assert.equal(pod.securityContext?.fsGroup, 1000)
      for (const { name, value, valueFrom } of container.env ?? []) {
        assert.doesNotMatch(name, /TOKEN$|SECRET|PASSWORD$|PG_URL/)
        if (valueFrom !== undefined) {
          assert.deepEqual(Object.keys(valueFrom), ['fieldRef'], name)
          continue
        }
        assert.equal(typeof value, 'string', `${name} must be a string`)
        // A file that a setting names is one that is mounted.
        if (!value.startsWith('/')) continue
        const mounted = container.volumeMounts?.some(({ mountPath }) => value.startsWith(mountPath))
        assert.ok(mounted, `${value} of ${name} is in no volume`)
      }
    }
  })

  test(`${file} has probes that reach the admin port, and time to drain`, () => {
    for (const { pod, container } of containersOf(file)) {
      if (!isProxy(container)) continue
      const env = new Map((container.env ?? []).map(({ name, value }) => [name, value]))
      const port = Number(env.get('LAKEBASE_PROXY_ADMIN_PORT'))
      assert.equal(env.get('LAKEBASE_PROXY_ADMIN_ADDRESS'), '0.0.0.0')
      assert.ok(container.ports?.some(({ containerPort }) => containerPort === port))
      const seconds = (name: string, byDefault: string): number => {
        const value = env.get(`LAKEBASE_PROXY_${name}`) ?? byDefault
        return Number.parseInt(value, 10) * (value.endsWith('m') ? 60 : 1)
      }
      const drain = seconds('DRAIN_DELAY', '0s') + seconds('DRAIN_TIMEOUT', '30s')
      // 30 s is what Kubernetes gives by default.
      assert.ok((pod.terminationGracePeriodSeconds ?? 30) > drain)
    }
  })
}

test('the PodMonitor scrapes the admin port of every manifest, by its name', () => {
  const monitor = parse(readFileSync('docker/podmonitor.yaml', 'utf8'))
  assert.deepEqual([monitor.apiVersion, monitor.kind], ['monitoring.coreos.com/v1', 'PodMonitor'])
  const [endpoint, ...others] = monitor.spec.podMetricsEndpoints
  assert.deepEqual([endpoint.path, others, monitor.spec.selector], ['/metrics', [], {}])
  for (const file of FILES) {
    for (const { container } of containersOf(file)) {
      if (!isProxy(container)) continue
      const admin = container.ports?.find(({ name }) => name === endpoint.port)
      assert.equal(admin?.containerPort, 9090, file)
    }
  }
})

test('a NetworkPolicy lets only monitoring reach an admin port that listens on the network', () => {
  for (const file of FILES) {
    const manifests = manifestsOf(file)
    const policies = manifests
      .filter(({ kind }) => kind === 'NetworkPolicy')
      .map(({ spec }) => spec as unknown as NetworkPolicy)
    for (const { spec } of manifests) {
      const labels = spec?.template?.metadata?.labels
      if (spec?.template === undefined) continue
      const [policy] = policies.filter(
        ({ podSelector }) => JSON.stringify(podSelector.matchLabels) === JSON.stringify(labels),
      )
      assert.ok(policy !== undefined, `${file} has no policy for its pods`)
      assert.ok(policy.policyTypes.includes('Ingress'))
      const reach = policy.ingress.filter(
        ({ ports }) =>
          ports === undefined ||
          ports.some(({ protocol, port, endPort }) =>
            typeof port === 'number'
              ? protocol === 'TCP' && port <= 9090 && 9090 <= (endPort ?? port)
              : port.endsWith('admin'),
          ),
      )
      const monitoring = { 'kubernetes.io/metadata.name': 'monitoring' }
      assert.deepEqual(
        reach.map(({ from }) => from),
        [[{ namespaceSelector: { matchLabels: monitoring } }]],
        file,
      )
    }
  }
})

/** With the gateway for a team that the top of gateway.yaml tells how to make. */
function proxiesOf(file: string): Container[] {
  const proxies = containersOf(file).flatMap(({ container }) =>
    isProxy(container) ? [container] : [],
  )
  if (file !== 'gateway.yaml') return proxies
  const forTeam = new Map([
    ['LAKEBASE_PROXY_LOCAL_AUTH', 'databricks'],
    ['LAKEBASE_PROXY_MAX_CONNECTIONS_PER_USER', '20'],
  ])
  const text = readFileSync(join(FOLDER, file), 'utf8')
  for (const name of forTeam.keys()) assert.ok(text.includes(name), `${file} names ${name}`)
  const team = proxies.map((container) => {
    const kept = (container.env ?? []).filter(
      ({ name }) => !forTeam.has(name) && !name.includes('PASSWORD'),
    )
    return {
      ...container,
      env: [...kept, ...[...forTeam].map(([name, value]) => ({ name, value }))],
    }
  })
  return [...proxies, ...team]
}

test('the proxy takes the settings of every manifest', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'kubernetes-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const life = { now: Date.now(), days: 1 }
  const names = { hosts: ['localhost'], addresses: [] }
  const certificate = await issueCertificate(await makeAuthority('Test', life), names, life)
  for (const file of FILES) {
    for (const container of proxiesOf(file)) {
      // What a volume would hold, in a folder of our own.
      const env: Record<string, string> = {}
      for (const { name, value } of container.env ?? []) {
        env[name] = value
        if (!value.startsWith('/')) continue
        const path = join(folder, value)
        env[name] = path
        mkdirSync(dirname(path), { recursive: true })
        const text = { '.crt': certificate.cert, '.key': certificate.key }[extname(path)]
        writeFileSync(path, text ?? 'a long enough password', { mode: 0o600 })
      }
      const { settings, notices } = await loadConfig({
        targets: container.args ?? [],
        flags: new Map(),
        env,
        uid: userInfo().uid,
        machine: {
          cwd: folder,
          homeDir: folder,
          hostname: 'pod',
          platform: 'linux',
          isTerminal: false,
        },
      })
      assert.deepEqual(notices, [])
      for (const name of Object.keys(env)) {
        const known = new Set([
          ...SETTING_NAMES.map(variableOf),
          ...['HOST', 'CONFIG_FILE', 'CLIENT_ID', 'AUTH_TYPE', 'OIDC_TOKEN_FILEPATH'].map(
            (setting) => `DATABRICKS_${setting}`,
          ),
        ])
        assert.ok(known.has(name), `${name} in ${file} is not a setting`)
      }
      assert.deepEqual(
        settings.targets.map(({ listen }) => listen.port),
        [5432],
      )
    }
  }
})

for (const file of FILES) {
  test(`${file}: a probe is given up on, and a pod that is not ready holds up no eviction`, () => {
    for (const { container } of containersOf(file)) {
      for (const probe of [
        container.startupProbe,
        container.readinessProbe,
        container.livenessProbe,
      ]) {
        if (probe !== undefined) assert.equal(probe.timeoutSeconds, 3)
      }
    }
    for (const { kind, spec } of manifestsOf(file)) {
      if (kind !== 'PodDisruptionBudget') continue
      assert.equal(spec?.unhealthyPodEvictionPolicy, 'AlwaysAllow')
    }
  })

  test(`${file}: replicas that many share are spread over zones and nodes, each version apart`, () => {
    for (const { kind, metadata, spec } of manifestsOf(file)) {
      const versionLabel = VERSION_LABELS.get(kind)
      if (versionLabel === undefined || !/gateway|pgbouncer/.test(metadata.name)) continue
      const spread = spec?.template?.spec.topologySpreadConstraints ?? []
      const keys = spread.map(({ topologyKey }) => topologyKey)
      assert.deepEqual(keys, ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'])
      for (const each of spread) assert.deepEqual(each.matchLabelKeys, [versionLabel])
    }
  })
}

test('twice the most replicas, as in a roll-out, stay within 1,678 connections', () => {
  const [gateway] = containersOf('gateway.yaml')
  const [autoscaler] = manifestsOf('gateway-autoscaling.yaml')
  const each = gateway!.container.env?.find(({ name }) => name === 'LAKEBASE_PROXY_MAX_CONNECTIONS')
  const most = (autoscaler!.spec as { maxReplicas: number }).maxReplicas
  assert.ok(Number(each?.value) * most * 2 <= 1678)
})

test('a sidecar is one that Kubernetes stops after the application, on loopback', () => {
  for (const file of ['sidecar.yaml', 'job.yaml', 'gateway-pgbouncer.yaml']) {
    const sidecars = manifestsOf(file).flatMap(
      ({ spec }) => spec?.template?.spec.initContainers ?? [],
    )
    assert.equal(sidecars.length, 1)
    for (const sidecar of sidecars) {
      assert.ok(isProxy(sidecar))
      assert.equal(sidecar.restartPolicy, 'Always')
      assert.ok(sidecar.env?.every(({ name }) => name !== 'LAKEBASE_PROXY_ADDRESS'))
    }
  }
})

test('each PgBouncer has a peer_id of its own, and knows the others by their names', () => {
  const manifests = manifestsOf('gateway-pgbouncer.yaml')
  const set = manifests.find(({ kind }) => kind === 'StatefulSet')
  const files = manifests.find(({ kind }) => kind === 'ConfigMap')?.data ?? {}
  const { replicas = 0, serviceName = '', template } = set?.spec ?? {}
  assert.ok(replicas > 1)

  const service = manifests.find(({ metadata }) => metadata.name === serviceName)
  assert.deepEqual(service?.spec?.selector, template?.metadata?.labels)
  const [container] = template?.spec.containers ?? []
  assert.deepEqual(container?.args, ['/etc/pgbouncer/config/$(POD_NAME).ini'])
  assert.equal(container?.env?.[0]?.valueFrom?.fieldRef.fieldPath, 'metadata.name')

  const expected = Array.from({ length: replicas }, (_, ordinal) => {
    const pod = `${set?.metadata.name}-${ordinal}`
    const [, id] = /^peer_id = (\d+)$/m.exec(files[`${pod}.ini`] ?? '') ?? []
    return `${id} = host=${pod}.${serviceName} port=${container?.ports?.[0]?.containerPort}`
  })
  assert.deepEqual(files['peers.ini']?.trim().split('\n'), ['[peers]', ...expected])
  assert.equal(new Set(expected.map((line) => line.split(' ')[0])).size, replicas)
})
