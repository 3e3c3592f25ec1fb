import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type JobRow, JobStore } from '../../../server/service/job-store.ts'
import { Jobs } from '../../../server/service/jobs.ts'
import { silentLog } from '../../../server/service/log.ts'
import { tempFolder } from '../../contract/temp-folder.ts'

const ROW: JobRow = {
  id: 'job_1',
  kind: 'merge',
  state: 'running',
  key: 'k',
  done: 3,
  total: 9,
  version: 4,
  created: '2026-01-01T00:00:00.000Z',
  started: '2026-01-01T00:00:01.000Z',
  finished: null,
  request: { plan: 'x' },
  result: null,
  error: null,
}

describe('the job store', () => {
  test('gives rows back as they were', () => {
    const store = JobStore.open(':memory:')
    store.put(ROW)
    expect(store.get('job_1')).toEqual(ROW)
    const ended: JobRow = { ...ROW, state: 'succeeded', result: { files: [] }, version: 5 }
    store.put(ended)
    expect(store.get('job_1')).toEqual(ended)
    expect(store.countByState()).toMatchObject({ running: 0, succeeded: 1 })
    store.close()
  })

  test('belongs to one process at a time', async () => {
    const path = join(await tempFolder(), 'jobs.db')
    const store = JobStore.open(path)
    expect(() => JobStore.open(path)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    store.close()
    JobStore.open(path).close()
  })

  test('replaces a file that is no database', async () => {
    const path = join(await tempFolder(), 'jobs.db')
    await writeFile(path, 'this is no database, whatever it may once have been'.repeat(100))
    const store = JobStore.open(path)
    expect(store.get('job_1')).toBeUndefined()
    store.close()
  })

  test('keeps the newest rows that have ended', () => {
    const store = JobStore.open(':memory:')
    for (let i = 0; i < 5; i++) {
      store.put({ ...ROW, id: `job_${i}`, state: 'succeeded', created: `2026-01-0${i + 1}T00:00:00.000Z` })
    }
    store.put({ ...ROW, id: 'job_running', created: '2025-01-01T00:00:00.000Z' })
    store.prune(2)
    const left = ['job_0', 'job_1', 'job_2', 'job_3', 'job_4', 'job_running'].filter((id) => store.get(id))
    expect(left).toEqual(['job_3', 'job_4', 'job_running'])
    store.close()
  })

  test('has unfinished jobs failed by the next start, with a reason', () => {
    const store = JobStore.open(':memory:')
    store.put(ROW)
    store.put({ ...ROW, id: 'job_2', state: 'queued', started: null })
    const jobs = new Jobs({ store, log: silentLog, parallel: 1 })
    for (const id of ['job_1', 'job_2']) {
      expect(jobs.get(id)).toMatchObject({ state: 'failed', error: { code: 'STOPPING' }, version: 5 })
    }
    store.close()
  })
})
