/** Containers: opened, verified, read, reconstructed. What decodes must come back the same after it is written again. */
import { codecByName } from '../../compress/codecs/codec-table.ts'
import { DIGEST_OFFSET } from '../../compress/container-layout.ts'
import { matrixOf } from '../../compress/container-map.ts'
import { type Container, openContainer } from '../../compress/container-reader.ts'
import { ContainerWriter, memoryPayload } from '../../compress/container-writer.ts'
import { jsKernels } from '../../compress/kernels/js.ts'
import { INDEX_MASK, type QuantizedTensor } from '../../compress/quantized-tensor.ts'
import { reconstructedSource, taskVectorSource } from '../../compress/reconstruct.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { elementCount, type TensorSource } from '../../tensors/tensor.ts'
import { collect } from '../unit/compress/container-builder.ts'
import { mutatedContainer, withDigest } from './container-mutator.ts'
import { loadSeeds, type Seeds, vectorBase } from './container-seeds.ts'
import { expectSame, expectSameBytes, type Outcome, refusal, type Target, Violation } from './target.ts'

const OPEN_CODES = ['CONTAINER_INVALID', 'CONTAINER_VERSION_UNSUPPORTED', 'CODEC_UNKNOWN', 'CHECKSUM_MISMATCH']
const READ_CODES = ['CONTAINER_INVALID', 'CHECKSUM_MISMATCH']
const BASE_CODES = ['BASE_REQUIRED', 'BASE_MISMATCH', 'DTYPE_UNSUPPORTED']
/** Entries and bytes beyond which a tensor is only read, not compared several ways: keeps the rate up. */
const MOST_COMPARED = 2 ** 14
/** Beyond this, a changed shape made it so (zeros pack well), and reading it is only slow. */
const MOST_READ = 2 ** 23

let seeds: Seeds
let base: TensorSource

export const containerTarget: Target = {
  name: 'container',
  weight: 6,
  width: 6,
  async prepare() {
    seeds = await loadSeeds()
    base = vectorBase()
  },
  generate: (dice) => mutatedContainer(dice, seeds),
  run,
  repair: (file) => withDigest(file, true),
}

async function run(file: Uint8Array): Promise<Outcome> {
  let container: Container
  try {
    container = await openContainer(memorySource(file))
  } catch (error) {
    return refusal(error, OPEN_CODES)
  }
  if (container.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0) > MOST_READ) return 'large'
  const verified = await outcomeOf(() => container.verify(), READ_CODES)
  const whole = await readAll(container)
  // What verify lets pass must be readable, and the other way round.
  const agree = verified === 'accepted' ? whole.codes.length === 0 : whole.codes.length > 0 || !whole.complete
  if (!agree) throw new Violation(`verify says ${verified}, reading gave ${whole.codes}`)
  // Of the digest, and so as good as random.
  const dice = file[DIGEST_OFFSET]!
  await reconstruct(container, verified, dice % 4 === 1)
  // One in eight: packing at the strongest level takes its time.
  if (whole.complete && file.length < 4096 && dice % 8 === 0) await writeAgain(container, whole)
  return verified === 'accepted' ? 'accepted' : `read ${verified}`
}

async function outcomeOf(work: () => Promise<unknown>, codes: readonly string[]): Promise<Outcome> {
  try {
    await work()
    return 'accepted'
  } catch (error) {
    return refusal(error, codes)
  }
}

interface Whole {
  readonly trits: Map<string, QuantizedTensor>
  readonly lossless: Map<string, Uint8Array>
  /** Every tensor could be read, without the base. */
  complete: boolean
  /** Of refusals, but for those for want of the base. */
  readonly codes: string[]
}

async function readAll(container: Container): Promise<Whole> {
  const whole: Whole = { trits: new Map(), lossless: new Map(), complete: true, codes: [] }
  for (const { name, storage, shape } of container.tensors) {
    const outcome = await outcomeOf(async () => {
      if (storage === 'trits') {
        const tensor = await container.readTrits(name)
        checkTrits(name, tensor, shape)
        whole.trits.set(name, tensor)
      } else if (container.needsReference(name)) {
        const code = await outcomeOf(() => container.readLossless(name), BASE_CODES)
        if (code !== 'BASE_REQUIRED') throw new Violation(`${name} needs a reference and gives ${code} without`)
        whole.complete = false
      } else whole.lossless.set(name, await container.readLossless(name))
    }, READ_CODES)
    if (outcome === 'accepted') continue
    whole.complete = false
    whole.codes.push(outcome)
  }
  return whole
}

function checkTrits(name: string, { rows, cols, positions, scales }: QuantizedTensor, shape: readonly number[]): void {
  expectSame(`shape of ${name}`, { rows, cols }, matrixOf(shape))
  const due = scales.axis === 'tensor' ? 1 : scales.axis === 'row' ? rows : cols
  if (scales.values.length !== due) throw new Violation(`${scales.values.length} scales of ${name} for ${due}`)
  let next = 0
  for (const position of positions) {
    const index = position & INDEX_MASK
    if (index < next || index >= rows * cols) throw new Violation(`index ${index} of ${name} in ${rows} x ${cols}`)
    next = index + 1
  }
}

/** Weights and task vector: a refusal for want of the right base, or the same bytes from both kinds of kernels. */
async function reconstruct(container: Container, verified: Outcome, everyWay: boolean): Promise<void> {
  const codes = verified === 'accepted' ? BASE_CODES : [...BASE_CODES, ...READ_CODES]
  for (const { name, shape } of container.tensors.slice(0, 4)) {
    if (elementCount(shape) > MOST_COMPARED) continue
    const read = (options: object) => reconstructedSource(container, options).readBytes(name)
    let bytes: Uint8Array | undefined
    const outcome = await outcomeOf(async () => {
      bytes = await read({ base })
    }, codes)
    if (bytes === undefined || !everyWay) continue
    if (outcome === 'accepted')
      expectSameBytes(`${name} by other kernels`, await read({ base, kernels: jsKernels }), bytes)
    await outcomeOf(() => read({ base, dtype: 'BF16', gain: 1.3 }), codes)
    await outcomeOf(() => taskVectorSource(container, { base }).read(name), codes)
  }
}

/** By what it says of each tensor: a rule that fits no name says as much as none. */
function baseNames({ header: { baseNames = 'same' }, tensors }: Container): string[] {
  return tensors.map(({ name }) => (baseNames !== 'same' && Object.hasOwn(baseNames, name) ? baseNames[name]! : name))
}

async function writeAgain(container: Container, { trits, lossless }: Whole): Promise<void> {
  const { tensors, header } = container
  const codec = codecByName(container.codec)
  const writer = new ContainerWriter(header, tensors, { codec, spool: memoryPayload() })
  for (const [name, tensor] of trits) await writer.addTrits(name, tensor)
  for (const [name, bytes] of lossless) await writer.addLossless(name, bytes)
  const again = await openContainer(memorySource(await collect((await writer.finish()).stream())))
  expectSame('tensors', again.tensors, tensors)
  expectSame('header', { ...again.header, baseNames: baseNames(again) }, { ...header, baseNames: baseNames(container) })
  for (const [name, { positions, scales }] of trits) {
    const copy = await again.readTrits(name)
    expectSameBytes(`trits of ${name}`, copy.positions, positions)
    expectSameBytes(`scales of ${name}`, copy.scales.values, scales.values)
  }
  for (const [name, bytes] of lossless) expectSameBytes(name, await again.readLossless(name), bytes)
}
