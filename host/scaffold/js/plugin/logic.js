// What {{name}} is like: functions without the host, tested by `node --test` in this folder.

// The semantic version in what a program calls its version; undefined if it is not one.
//
// The host compares semantic versions alone, which have three numbers: what is missing is 0, what is left over becomes
// build metadata.
export function semver(native) {
  const parts = native.split('.');
  if (!parts.every((part) => /^\d+$/.test(part))) return undefined;
  const numbers = parts.map((part) => part.replace(/^0+(?=\d)/, ''));
  const core = [...numbers, '0', '0'].slice(0, 3).join('.');
  const rest = numbers.slice(3).join('.');
  return rest ? `${core}+${rest}` : core;
}

// Arguments that start `entryPoint`: those of the interpreter's own come first.
export function start(interpreter, entryPoint, args) {
  return [...interpreter, entryPoint, ...args];
}
