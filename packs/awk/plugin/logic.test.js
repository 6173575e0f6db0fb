import assert from 'node:assert/strict';
import test from 'node:test';

import { hasAwk, identify, questions, start } from './logic.js';

test('each says who it is in its own way', () => {
  for (const [output, implementation, semver, variant] of [
    ['GNU Awk 5.2.1, API 3.2, PMA Avon 8-g1, (GNU MPFR 4.2.0, GNU MP 6.2.1)\n', 'gawk', '5.2.1', undefined],
    ['mawk 1.3.4 20200120\nCopyright 2008-2019,2020\n', 'mawk', '1.3.4+20200120', 'mawk'],
    ['mawk 1.3.3 Nov 1996, Copyright (C) Michael D. Brennan\n', 'mawk', '1.3.3', 'mawk'],
    ['awk version 20240728\n', 'original-awk', '20240728.0.0', 'original-awk'],
    ['awk version 20121220 (FreeBSD)\n', 'original-awk', '20121220.0.0', 'original-awk'],
    ['BusyBox v1.35.0 (Debian 1:1.35.0-4) multi-call binary.\n', 'busybox', '1.35.0', 'busybox'],
  ]) {
    const { native, ...found } = identify(output);
    assert.deepEqual(found, { implementation, variant, semver }, output);
  }
  assert.equal(identify('a seabird\n'), undefined);
});

test('BusyBox need not have an Awk', () => {
  assert.ok(hasAwk('Currently defined functions:\n\t[, [[, ar, arch, ash, awk, base64,\n\tbasename, bc\n'));
  assert.ok(!hasAwk('Currently defined functions:\n\t[, [[, ar, gawk, base64,\n\tbasename, bc\n'));
  assert.ok(!hasAwk('awk, of sorts\n'));
});

test('BusyBox is told to be an Awk', () => {
  assert.deepEqual(start('/bin/busybox', [], 'x', ['-a']), ['awk', '-f', 'x', '--', '-a']);
  assert.deepEqual(start('/usr/bin/gawk', ['-b'], 'x', []), ['-b', '-f', 'x', '--']);
  assert.deepEqual(questions('/bin/busybox'), [['--help']]);
  assert.deepEqual(questions('/usr/bin/mawk')[0], ['--version']);
});
