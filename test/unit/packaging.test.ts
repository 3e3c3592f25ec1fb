/** What can be known of Dockerfile and compose.yaml without a Docker engine. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../../server/config.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const dockerfile = readFileSync(`${ROOT}Dockerfile`, 'utf8').replaceAll(/\\\n\s*/g, '')
const compose = parse(readFileSync(`${ROOT}compose.yaml`, 'utf8'))
const allowed = readFileSync(`${ROOT}.dockerignore`, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('!'))
  .map((line) => line.slice(1))
const token = 'a-token-of-sixteen-characters'

/** Sources of COPY lines, without what comes from another stage. */
function copiedSources(): string[] {
  return [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap(([, words = '']) =>
    words.split(/\s+/).slice(0, -1),
  )
}

/** Variables of the ENV instruction. */
function imageEnvironment(): Record<string, string> {
  const [, words = ''] = /^ENV (.+)$/m.exec(dockerfile) ?? []
  return Object.fromEntries(words.split(/\s+/).map((word) => word.split(/=(.*)/s).slice(0, 2) as [string, string]))
}

test('the image copies only what exists and what .dockerignore lets through', () => {
  const sources = copiedSources().map((source) => source.replace('./', ''))
  expect(sources.length).toBeGreaterThan(8)
  expect(sources.filter((source) => !existsSync(ROOT + source))).toEqual([])
  expect(sources.filter((source) => !allowed.includes(source))).toEqual([])
})

test('the image holds every folder of the program', () => {
  const folders = ['bin', 'cli', 'compress', 'merge', 'registry', 'server', 'tensors', 'errors.ts', 'package.json']
  expect(copiedSources()).toEqual(expect.arrayContaining(folders))
})

test('the image configures the server with variables it knows, and only with a token', () => {
  const env = imageEnvironment()
  expect(readConfig({ ...env, TERN_ADMIN_TOKEN: token })).toMatchObject({ host: '0.0.0.0', port: 8420 })
  expect(() => readConfig(env)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
})

test('the image does not run as root, and says how its health is checked', () => {
  expect(dockerfile).toMatch(/^USER node$/m)
  expect(dockerfile).toMatch(/^HEALTHCHECK .*\/healthz/m)
  expect(dockerfile).toMatch(/^EXPOSE 8420$/m)
  expect(dockerfile).toMatch(/^VOLUME \/data$/m)
})

test('compose gives the server a real S3 store and variables it knows', () => {
  const { environment, depends_on: dependsOn } = compose.services.tern
  expect(environment.TERN_ADMIN_TOKEN).toMatch(/^\$\{TERN_ADMIN_TOKEN:\?/)
  const config = readConfig({ ...imageEnvironment(), ...environment, TERN_ADMIN_TOKEN: token })
  expect(config).toMatchObject({ storeUrl: 's3://tern?endpoint=http://s3:8333', redirectDownloads: false })
  expect(dependsOn.s3.condition).toBe('service_healthy')
})

test('compose makes the bucket that the store URL names, on the port that it names', () => {
  const { image, command } = compose.services.s3
  expect(image).toMatch(/^chrislusf\/seaweedfs:\d/)
  expect(command).toEqual(expect.arrayContaining(['-bucket=tern', '-s3.port=8333']))
})

test('compose keeps data in volumes that it declares', () => {
  const mounts = Object.values(compose.services).flatMap((service) => (service as { volumes: string[] }).volumes)
  const names = mounts.map((mount) => mount.split(':')[0] ?? '')
  expect(names.sort()).toEqual(Object.keys(compose.volumes).sort())
})
