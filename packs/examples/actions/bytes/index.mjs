// `pretty-bytes` exists as an ES module only; it resolves by where this file lies.
import { readFileSync } from 'node:fs';
import prettyBytes from 'pretty-bytes';

const { bytes } = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify({ text: prettyBytes(bytes) }));
