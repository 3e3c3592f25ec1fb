import { inlineExecutor } from '../../compress/executor-inline.ts'
import { workerPool } from '../../compress/node/worker-pool.ts'
import { executorSuite } from './executor.suite.ts'

executorSuite('inline', inlineExecutor)
executorSuite('worker pool', () => workerPool(2))
