// What the implementations of Awk are like: functions without the host, tested by `node --test` in this folder.

// Each says who it is in its own way. The first group is the version; the one without a variant is meant when none is asked for.
const IMPLEMENTATIONS = [
  { implementation: 'gawk', variant: undefined, pattern: /^GNU Awk (\d+(?:\.\d+)+[a-z]?)/m },
  { implementation: 'mawk', variant: 'mawk', pattern: /^mawk (\d+(?:\.\d+)+(?:[- ]\d{8})?)/m },
  { implementation: 'busybox', variant: 'busybox', pattern: /^BusyBox v(\d+(?:\.\d+)+)/m },
  { implementation: 'original-awk', variant: 'original-awk', pattern: /^awk version (\d+)/m },
];

// A program for any Awk, and what it prints.
export const PROGRAM = 'BEGIN { split("a b", x); print toupper(x[2]), substr("hello", 2, 3), 6 * 7 }';
export const ANSWER = 'B ell 42';

// BusyBox is many programs in one: which one it is to be comes before all other arguments, whatever the name is that led
// to it.
export function applet(path) {
  return path.split('/').at(-1).startsWith('busybox') ? ['awk'] : [];
}

// How each is asked who it is. mawk before 1.3.4 does not know the first way.
export function questions(path) {
  return applet(path).length > 0 ? [['--help']] : [['--version'], ['-W', 'version']];
}

// Which implementation printed this, and its version; undefined if it is none that is known.
export function identify(output) {
  for (const { implementation, variant, pattern } of IMPLEMENTATIONS) {
    const native = output.match(pattern)?.[1];
    if (native === undefined) continue;
    return { implementation, variant, native, semver: semver(native) };
  }
  return undefined;
}

// Whether BusyBox was built with an Awk, as its list of programs says.
export function hasAwk(output) {
  return /[\s,]awk(,|$)/m.test(output.split('defined functions:')[1] ?? '');
}

// The semantic version: three numbers, the rest as build metadata.
export function semver(native) {
  const [numbers, date] = native.split(/[- ]/);
  const parts = numbers.replace(/[a-z]$/, '').split('.');
  const plain = parts.map((part) => part.replace(/^0+(?=\d)/, ''));
  const core = [...plain, '0', '0'].slice(0, 3).join('.');
  const rest = [...plain.slice(3), ...(date ? [date] : [])].join('.');
  return rest ? `${core}+${rest}` : core;
}

// Arguments that start `entryPoint`. What comes after `--` is for the program, even if it begins with `-`.
export function start(path, interpreter, entryPoint, args) {
  return [...applet(path), ...interpreter, '-f', entryPoint, '--', ...args];
}
