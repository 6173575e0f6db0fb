import assert from 'node:assert/strict';
import test from 'node:test';

import { semver, start } from './logic.js';

test('versions have three numbers', () => {
  for (const [native, expected] of [
    ['1.2.3', '1.2.3'],
    ['1.2', '1.2.0'],
    ['1.2.3.4', '1.2.3+4'],
    ['1.2.x', undefined],
    ['', undefined],
  ]) {
    assert.equal(semver(native), expected, native);
  }
});

test('the entry point is between its arguments and the interpreter’s', () => {
  assert.deepEqual(start(['-w'], 'x', ['a', 'b']), ['-w', 'x', 'a', 'b']);
});
