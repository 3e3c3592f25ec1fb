/** Writes what is generated from the routes: spec/openapi.json and docs/errors.md. Tests compare them with this. */
import { writeFileSync } from 'node:fs'
import { ROUTES } from '../server/http/app.ts'
import { errorsPage } from '../server/http/error-map.ts'
import { openApiDocument } from '../server/http/openapi.ts'
import { VERSION } from '../server/http/version.ts'

const root = new URL('..', import.meta.url)
writeFileSync(new URL('spec/openapi.json', root), `${JSON.stringify(openApiDocument(ROUTES, VERSION), null, 2)}\n`)
writeFileSync(new URL('docs/errors.md', root), errorsPage())
