// Writes lib/error-codes.ts from native/core/error_codes.def, the one table of error codes.
//   node scripts/generate-error-codes.mjs           writes the file
//   node scripts/generate-error-codes.mjs --check   exits 1 when the file is stale
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = readFileSync(join(root, 'native/core/error_codes.def'), 'utf8');
const row = /^ASPIRED_ERROR\((\w+), "(ERR_\w+)", k(\w+), "([^"]*)"\)$/gm;

const rows = [...source.matchAll(row)].map(([, , code, status, text]) => ({
  code,
  status: status.replace(/(?<!^)([A-Z])/g, '_$1').toUpperCase(),
  text,
}));
const lines = source.split('\n').filter((line) => line.startsWith('ASPIRED_ERROR(')).length;
if (rows.length !== lines) {
  console.error(`error_codes.def: ${lines} rows, but only ${rows.length} have the form of a row`);
  process.exit(1);
}

const text = `// Made by scripts/generate-error-codes.mjs from native/core/error_codes.def. Do not edit.

/** Every error code, with its canonical status and its meaning. */
export const ERROR_CODES = {
${rows.map((r) => `  ${r.code}: { status: '${r.status}', meaning: ${JSON.stringify(r.text).replaceAll("'", "\\'").replace(/^"|"$/g, "'")} },`).join('\n')}
} as const;

/** The stable code of an {@link AspiredError}. */
export type AspiredErrorCode = keyof typeof ERROR_CODES;
`;
const target = join(root, 'lib/error-codes.ts');
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('lib/error-codes.ts is stale: run node scripts/generate-error-codes.mjs');
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
