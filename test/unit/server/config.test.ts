import { describe, expect, test } from 'vitest'
import { configHelp, readConfig } from '../../../server/config.ts'

const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) })

describe('the configuration', () => {
  test('without variables is a service on loopback with everything in one folder', () => {
    expect(readConfig({})).toMatchObject({
      storeUrl: 'file:./tern-data',
      indexUrl: 'sqlite:tern-data/index.db',
      spoolDir: 'tern-data/spool',
      host: '127.0.0.1',
      port: 8420,
      adminToken: undefined,
    })
  })

  test('keeps index and spool in the folder of the store', () => {
    expect(readConfig({ TERN_STORE_URL: 'file:///srv/tern' })).toMatchObject({
      indexUrl: 'sqlite:/srv/tern/index.db',
      spoolDir: '/srv/tern/spool',
    })
  })

  test('reads sizes with units', () => {
    expect(readConfig({ TERN_MAX_UPLOAD_BYTES: '2GiB', TERN_CACHE_BYTES: '500' })).toMatchObject({
      maxUploadBytes: 2 ** 31,
      cacheBytes: 500,
    })
  })

  test('refuses variables it does not know, and lists those it does', () => {
    expect(() => readConfig({ TERN_PROT: '1' })).toThrow(invalid(/TERN_PROT.*TERN_PORT/))
  })

  test('lets variables of other programs pass', () => {
    expect(readConfig({ PATH: '/bin', TERN_URL: 'http://x', TERN_TOKEN: 'y', TERN_FIXTURES: '/f' }).port).toBe(8420)
  })

  test.each([
    ['TERN_PORT', '70000'],
    ['TERN_PORT', 'http'],
    ['TERN_STORE_URL', 'ftp://x'],
    ['TERN_INDEX_URL', 'postgres://x'],
    ['TERN_MAX_UPLOAD_BYTES', '-1'],
    ['TERN_MAX_UPLOAD_BYTES', '0'],
    ['TERN_WORKERS', '0'],
    ['TERN_LOG_LEVEL', 'loud'],
    ['TERN_REDIRECT_DOWNLOADS', 'yes'],
    ['TERN_ADMIN_TOKEN', 'short'],
    ['TERN_ADMIN_TOKEN', 'with a space in between'],
  ])('refuses %s=%s by the name of the variable', (key, value) => {
    expect(() => readConfig({ [key]: value })).toThrow(invalid(new RegExp(key)))
  })

  test('never repeats the token in an error', () => {
    expect(() => readConfig({ TERN_ADMIN_TOKEN: 'hunter two three four' })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter') }),
    )
  })

  test.each(['0.0.0.0', '::', '192.168.1.7', 'tern.example'])('refuses to listen on %s without a token', (host) => {
    expect(() => readConfig({ TERN_HOST: host })).toThrow(invalid(/TERN_ADMIN_TOKEN/))
    expect(readConfig({ TERN_HOST: host, TERN_ADMIN_TOKEN: 'a-token-of-enough-length' }).host).toBe(host)
  })

  test.each(['127.0.0.1', 'localhost', '::1', '127.0.0.53'])('listens on %s without a token', (host) => {
    expect(readConfig({ TERN_HOST: host }).host).toBe(host)
  })

  test('explains every variable', () => {
    const help = configHelp().split('\n')
    const keys = help.filter((line) => line.startsWith('TERN_'))
    expect(keys.length).toBeGreaterThan(10)
    for (const [i, line] of help.entries()) if (line.startsWith('TERN_')) expect(help[i + 1]?.trim()).not.toBe('')
  })
})
