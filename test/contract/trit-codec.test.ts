import { bitplane } from '../../compress/codecs/bitplane.ts'
import { rice } from '../../compress/codecs/rice.ts'
import { sgr, sgrWith } from '../../compress/codecs/sgr.ts'
import { referenceCoder } from '../../compress/codecs/sgr-reference.ts'
import { tritCodecSuite } from './trit-codec.suite.ts'

tritCodecSuite('bitplane', bitplane)
tritCodecSuite('rice', rice)
tritCodecSuite('sgr in WebAssembly', sgr)
tritCodecSuite('sgr reference', sgrWith(referenceCoder))
