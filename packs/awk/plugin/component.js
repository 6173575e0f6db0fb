// What the host calls. A failure is thrown, and arrives from the host as an error whose `payload` it is.

import { find } from 'attune:runtime/tools@0.1.0';

import { ANSWER, PROGRAM, applet, hasAwk, identify, questions, start } from './logic.js';

// Names that interpreters go by; which of them are looked for is for the grants to say.
const NAMES = ['awk', 'gawk', 'mawk', 'original-awk', 'nawk', 'busybox'];

export const detection = {
  detect(request) {
    const candidates = [];
    const known = new Set();
    for (const { path, outcome } of find(NAMES)) {
      if (outcome.tag === 'err') {
        candidates.push({ path, outcome });
        continue;
      }
      // The same program may go by several names.
      const program = outcome.val;
      if (known.has(program.path())) continue;
      known.add(program.path());
      candidates.push({ path, outcome: attempt(() => installation(program, ask(program, true))) });
    }
    return candidates;
  },

  aliases(versions) {
    return [{ name: 'latest', constraint: '*' }];
  },
};

export const verification = {
  // Asks again, compares with what was claimed, and runs something.
  verify(request, program) {
    const claim = request.installation;
    const found = ask(program, false);
    const version = versionOf(found);
    const completion = program.run(invocation([...applet(program.path()), PROGRAM], false));
    const checks = [
      equal('version', 'version-mismatch', claim.version.semver, version.semver),
      equal('variant', 'variant-mismatch', claim.version.variant ?? 'none', version.variant ?? 'none'),
      equal('program', 'unparsable-output', ANSWER, textOf(completion).trim()),
    ];
    return { version, checks, attributes: attributes(found) };
  },
};

export const environment = {
  // None is needed: Awk has no packages.
  plan(request) {
    return { steps: [], stage: undefined, inputs: [], extra: [] };
  },

  // There is none that could be broken.
  check(request) {},

  launch({ installation: { path }, config, entryPoint, arguments: given }) {
    const args = start(path, config.interpreterArguments, entryPoint, given);
    return { program: { tag: 'installation' }, arguments: args, variables: [], extra: [] };
  },
};

// What a program says that it is.
function ask(program, memoize) {
  const path = program.path();
  let refused;
  for (const question of questions(path)) {
    const completion = program.run(invocation(question, memoize));
    const output = textOf(completion);
    const found = identify(output);
    // An option that it does not know makes it no other program, but one that was ended by a signal is broken.
    if (completion.status.tag === 'signalled') {
      const signal = completion.status.val;
      throw failure({ tag: 'killed-by-signal', val: signal }, `was ended by signal ${signal}`);
    }
    if (found === undefined) {
      refused ??= stranger(completion.status, output.trim().split('\n')[0]);
      continue;
    }
    if (found.implementation === 'busybox' && !hasAwk(output)) {
      throw failure({ tag: 'missing-capability', val: 'awk' }, 'was built without Awk');
    }
    return found;
  }
  throw refused;
}

// Why a program that did not say that it is an Awk is none.
function stranger(status, line) {
  if (status.tag === 'exited' && status.val !== 0) {
    return failure({ tag: 'nonzero-exit', val: status.val }, `ended with exit code ${status.val}: ${line}`);
  }
  return failure({ tag: 'wrong-implementation' }, `is no Awk that is known: it printed \`${line}\``);
}

// What depends on the program alone the host may remember for as long as that is the same file.
function invocation(args, memoize) {
  return { arguments: args, variables: [], stdin: new Uint8Array(), timeout: undefined, memoize, extra: [] };
}

function textOf({ stdout, stderr }) {
  const text = new TextDecoder();
  return text.decode(stdout) + text.decode(stderr);
}

function versionOf({ semver, native, variant }) {
  return { semver, native, variant };
}

function installation(program, found) {
  const path = program.path();
  const aliases = program.names().filter((name) => name !== path);
  return { path, version: versionOf(found), source: program.source(), aliases, attributes: attributes(found) };
}

function attributes({ implementation }) {
  return [['implementation', implementation]];
}

function equal(name, tag, expected, found) {
  if (expected === found) return { name, outcome: { tag: 'passed' }, detail: found };
  const val = failure({ tag }, `it is \`${found}\` instead of \`${expected}\``);
  return { name, outcome: { tag: 'failed', val }, detail: found };
}

function failure(kind, message) {
  return { class: kind, message };
}

// What a function returns or throws, as a result of the contract. What is no failure is a mistake of this file's.
function attempt(work) {
  try {
    return { tag: 'ok', val: work() };
  } catch (thrown) {
    const val = thrown?.payload ?? thrown;
    if (val?.class === undefined) throw thrown;
    return { tag: 'err', val };
  }
}
