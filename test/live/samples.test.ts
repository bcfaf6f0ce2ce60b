/** The samples of deploy/, read by the libraries of Kubernetes, Kustomize and Compose themselves, and by our engine. */
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { ownGoProgram } from '../../harness/go.ts'
import { run } from '../../harness/run.ts'
import { type EngineConfig, parseConfig } from '../../src/config/config.ts'
import { LONG } from '../support/long.ts'

const deploy = join(import.meta.dirname, '..', '..', 'deploy')
type Variables = Readonly<Record<string, string | null>>

/** The configuration that the image orthancteam/orthanc makes of its environment, in our own words. */
function configurationOf(variables: Variables): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const [variable, text] of Object.entries(variables)) {
    if (!variable.startsWith('ORTHANC__')) continue
    const words = (part: string) => part.split('_').map(word => (word[0] ?? '') + word.slice(1).toLowerCase())
    const path = variable.slice('ORTHANC__'.length).split('__')
    const names = path.map(part => (part === 'POSTGRESQL' ? 'PostgreSQL' : words(part).join('')))
    let value: unknown = text
    try {
      value = JSON.parse(text ?? '')
    } catch {
      // a text as it is
    }
    let section = root
    for (const name of names.slice(0, -1)) {
      section[name] ??= {}
      section = section[name] as Record<string, unknown>
    }
    section[names.at(-1) ?? ''] = value
  }
  return root
}

/** What our engine makes of it, within a new Orthanc. Nothing may be unknown, ignored, or bad for speed. */
function understood(variables: Variables): { config: EngineConfig } {
  const orthanc = configurationOf(variables)
  const { config, warnings } = parseConfig(JSON.stringify(orthanc), '/etc/orthanc', '1.13.0')
  assert.deepEqual(warnings, [])
  assert.ok(config)
  return { config }
}

describe('the samples', { skip: LONG ? false : 'only in npm run test:long: it builds the libraries' }, () => {
  let program: string
  before(async () => {
    program = await ownGoProgram(join(import.meta.dirname, 'support', 'deploy'))
  })
  const read = async (kind: string, path: string) => JSON.parse(await run(program, [kind, join(deploy, path)]))

  for (const [overlay, kind, identity, filled] of [
    ['eks', 's3', 'eks.amazonaws.com/role-arn', []],
    ['aks', 'azure', 'azure.workload.identity/client-id', ['AZURE_BLOB_STORAGE__CONNECTION_STRING']],
    ['gke', 'gcs', 'iam.gke.io/gcp-service-account', ['GOOGLE_CLOUD_STORAGE__SERVICE_ACCOUNT_FILE']],
  ] as const)
    describe(`for Kubernetes, ${overlay}`, () => {
      // biome-ignore lint/suspicious/noExplicitAny: resources of Kubernetes, which its own types have read
      let all: any[]
      const the = (wanted: string, name = /^orthanc/) =>
        all.find(one => one.kind === wanted && name.test(one.metadata.name))
      before(async () => {
        all = await read('kustomize', `kubernetes/overlays/${overlay}`)
      })

      it('says where to store, who Orthanc is, and holds no key', () => {
        const { data } = the('ConfigMap')
        // The image fills what its own plugins need.
        const fill = filled.map(name => [`ORTHANC__${name}`, 'MUST BE DEFINED BY YOU'])
        const { config } = understood({ ...data, ...Object.fromEntries(fill) })
        assert.equal(config.provider.kind, kind)
        assert.ok(the('ServiceAccount').metadata.annotations[identity])
        assert.equal(the('Deployment').spec.template.spec.serviceAccountName, the('ServiceAccount').metadata.name)
        const secret = /ACCESS_KEY|SECRET|CONNECTION_STRING|ACCOUNT_KEY|ACCOUNT_FILE|PASSWORD/
        assert.ok(Object.keys(data).every(name => !secret.test(name)))
      })

      it('may write only where it must, as a user without rights', () => {
        const { spec } = the('Deployment').spec.template
        const [{ securityContext, volumeMounts }] = spec.containers
        assert.equal(spec.securityContext.runAsNonRoot, true)
        assert.equal(spec.automountServiceAccountToken, false)
        assert.deepEqual(
          { ...securityContext },
          { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        )
        const written = spec.volumes.filter((one: { emptyDir?: unknown }) => one.emptyDir)
        assert.deepEqual(
          written.map(
            ({ name }: { name: string }) =>
              volumeMounts.find((mount: { name: string }) => mount.name === name)?.mountPath,
          ),
          ['/tmp', '/run/orthanc/plugins', '/var/lib/orthanc/db', '/var/lib/orthanc/temporary'],
        )
        for (const { mountPath } of volumeMounts) assert.doesNotMatch(mountPath, /^(\/var)?\/run\/secrets/)
      })

      it('waits longer for a start than the engine waits for its store, and restarts nothing for a store', () => {
        const [{ startupProbe, readinessProbe, livenessProbe }] = the('Deployment').spec.template.spec.containers
        const { config } = understood(the('ConfigMap').data)
        const startupMs = startupProbe.failureThreshold * startupProbe.periodSeconds * 1000
        assert.ok(startupMs > config.startupTimeoutMs)
        const asked = [startupProbe, readinessProbe, livenessProbe].map(({ exec }) => exec.command.at(-1))
        assert.deepEqual(asked, ['/system', '/cloud-storage/ready', '/system'])
        assert.ok(readinessProbe.timeoutSeconds > 5, 'the plugin answers within 5 s')
      })

      it('refers only to what is there, and selects its own pods', () => {
        const { selector, template } = the('Deployment').spec
        for (const labels of [selector.matchLabels, the('Service').spec.selector])
          for (const [name, value] of Object.entries(labels)) assert.equal(template.metadata.labels[name], value)
        assert.deepEqual(the('PodDisruptionBudget').spec.selector.matchLabels, selector.matchLabels)
        const [{ ports, envFrom, volumeMounts }] = template.spec.containers
        for (const { targetPort } of the('Service').spec.ports)
          assert.ok(ports.some(({ name }: { name: string }) => name === targetPort))
        assert.equal(envFrom[0].configMapRef.name, the('ConfigMap').metadata.name)
        const volumes = template.spec.volumes.map(({ name }: { name: string }) => name)
        assert.deepEqual(volumes.toSorted(), volumeMounts.map(({ name }: { name: string }) => name).toSorted())
        const probe = template.spec.volumes.find(({ name }: { name: string }) => name === 'probe')
        assert.ok(the('ConfigMap', new RegExp(`^${probe.configMap.name}$`)).data['probe.sh'])
      })
    })

  describe('for Compose', () => {
    // biome-ignore lint/suspicious/noExplicitAny: a project of Compose, which its own types have read
    let project: any
    before(async () => {
      project = await read('compose', 'compose.yaml')
    })

    it('configures both Orthancs alike, with secrets in files only', () => {
      const [one, two] = ['orthanc-1', 'orthanc-2'].map(name => project.services[name])
      assert.deepEqual({ ...one, hostname: '' }, { ...two, hostname: '' })
      const { config } = understood(one.environment)
      assert.equal(config.provider.kind, 's3')
      const targets = one.secrets.map(({ target }: { target: string }) => target.replace('/run/secrets/', ''))
      assert.doesNotMatch(JSON.stringify(one.environment), /PASSWORD|SECRET_KEY|ACCESS_KEY/)
      const secrets = targets.filter((name: string) => name.startsWith('ORTHANC__'))
      const all = { ...one.environment, ...Object.fromEntries(secrets.map((name: string) => [name, 'x'])) }
      const { provider } = understood(all).config
      assert.deepEqual(provider.kind === 's3' && provider.credentials, { accessKeyId: 'x', secretAccessKey: 'x' })
    })

    it('may write only in folders of memory, and may run plugins there', () => {
      for (const name of ['orthanc-1', 'orthanc-2']) {
        const { read_only, tmpfs, cap_drop, user } = project.services[name]
        assert.deepEqual([read_only, cap_drop, user], [true, ['ALL'], '999:999'])
        assert.deepEqual(tmpfs, ['/tmp', '/run/orthanc/plugins:exec', '/var/lib/orthanc/db'])
      }
    })

    it('names files that are there', () => {
      for (const { file } of Object.values<{ file: string }>(project.configs)) assert.ok(existsSync(file), file)
    })
  })

  it('are all that deploy/kubernetes has', () => {
    assert.deepEqual(readdirSync(join(deploy, 'kubernetes', 'overlays')).toSorted(), ['aks', 'eks', 'gke'])
  })

  it('would not be accepted with a misspelt field', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-samples-'))
    try {
      cpSync(deploy, folder, { recursive: true })
      const spoil = (file: string, from: string, to: string) => {
        const path = join(folder, file)
        const text = readFileSync(path, 'utf8')
        assert.ok(text.includes(from))
        writeFileSync(path, text.replace(from, to))
      }
      spoil('kubernetes/base/deployment.yaml', 'failureThreshold', 'failureTreshold')
      spoil('compose.yaml', 'start_period', 'start_periods')
      await assert.rejects(run(program, ['kustomize', join(folder, 'kubernetes/overlays/eks')]), /failureTreshold/)
      await assert.rejects(run(program, ['compose', join(folder, 'compose.yaml')]), /start_periods/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
