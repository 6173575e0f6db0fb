// What the host calls. Nothing is kept from one call to the next: each has an instance of its own.
//
// What there is on the machine can only be seen through the host: `tools` finds and runs programs, `files` reads,
// `patterns` matches the expressions of the runtime's YAML. What is not granted there is answered with a failure of
// the class `denied`. A failure is thrown, and arrives from the host as an error whose `payload` it is.

import { captures } from 'attune:runtime/patterns@{{contract}}';
import { find, runAll } from 'attune:runtime/tools@{{contract}}';

import { semver, start } from './logic.js';

export const detection = {
  // Everything that goes by a name that the YAML declares. What turns out to be something else is a candidate
  // with its failure, so that people can see why it is not used.
  detect(request) {
    const candidates = [];
    const known = new Set();
    for (const command of request.commands.filter(({ pattern }) => pattern !== undefined)) {
      const programs = [];
      for (const { path, outcome } of find([command.binary])) {
        if (outcome.tag === 'err') {
          candidates.push({ path, outcome });
          continue;
        }
        // No two candidates may be the same installation, whatever names it goes by.
        const program = outcome.val;
        if (known.has(program.path())) continue;
        known.add(program.path());
        programs.push({ path, program });
      }
      // All at once: one that is slow keeps no other waiting.
      const answers = runAll(programs.map(({ program }) => program), invocation(command, true));
      programs.forEach(({ path, program }, index) => {
        const outcome = attempt(() => installation(program, version(command, valueOf(answers[index]))));
        candidates.push({ path, outcome });
      });
    }
    return candidates;
  },

  // Words that can be asked for instead of a version. Each stands for a constraint.
  aliases(versions) {
    return [{ name: 'latest', constraint: '*' }];
  },
};

export const verification = {
  // Proves that an installation works. Printing a version proves little: think of what an action needs, and add a
  // check for it.
  verify(request, program) {
    const verdict = {
      version: request.installation.version,
      checks: [],
      attributes: request.installation.attributes,
    };
    request.commands.forEach((command, index) => {
      const { tag, val } = attempt(() => version(command, program.run(invocation(command, false))));
      const check = { name: `command-${index + 1}`, outcome: { tag: 'passed' }, detail: '' };
      if (tag === 'err') {
        check.outcome = { tag: command.optional ? 'warned' : 'failed', val };
      } else if (val !== undefined) {
        verdict.version = val;
        check.name = 'version';
        check.detail = val.native;
      }
      verdict.checks.push(check);
    });
    return verdict;
  },
};

export const environment = {
  // How to make an environment with an action's dependencies. No step: none is needed.
  //
  // A plan is data: the host shows it, executes it and undoes it. `wit/environment.wit` has the steps.
  plan(request) {
    return { steps: [], stage: undefined, inputs: [], extra: [] };
  },

  // Whether an environment that was built still works; `throw failure(…)` if not.
  check(request) {},

  // How to start an entry point.
  launch(request) {
    const args = start(request.config.interpreterArguments, request.entryPoint, request.arguments);
    return { program: { tag: 'installation' }, arguments: args, variables: [], extra: [] };
  },
};

// A command of the YAML, as it is run. What depends on the program alone the host may remember for as long as that is
// the same file.
function invocation(command, memoize) {
  return {
    arguments: command.arguments,
    variables: [],
    stdin: new Uint8Array(),
    timeout: undefined,
    memoize,
    extra: [],
  };
}

// The version that a command printed, if it ended as the YAML says; undefined if it has no pattern that tells it.
function version(command, completion) {
  const { status } = completion;
  if (status.tag === 'signalled') {
    throw failure({ tag: 'killed-by-signal', val: status.val }, `was ended by signal ${status.val}`);
  }
  if (status.tag !== 'exited') throw failure({ tag: 'other', val: 'unknown-exit' }, 'ended in an unknown way');
  if (status.val !== command.exitCode) {
    throw failure({ tag: 'nonzero-exit', val: status.val }, `ended with exit code ${status.val}`);
  }
  if (command.pattern === undefined) return undefined;
  const text = new TextDecoder();
  const output = text.decode(completion.stdout) + text.decode(completion.stderr);
  // The groups of the match: the whole of it, then those in parentheses.
  const groups = captures(command.pattern, output);
  if (groups === undefined) {
    throw failure({ tag: 'pattern-mismatch' }, `did not print what \`${command.pattern}\` expects`);
  }
  const native = groups[1] ?? '';
  const found = semver(native);
  if (found === undefined) {
    throw failure({ tag: 'unparsable-output' }, `printed \`${native}\` where a version was expected`);
  }
  return { semver: found, native, variant: undefined };
}

function installation(program, version) {
  const path = program.path();
  const aliases = program.names().filter((name) => name !== path);
  return { path, version, source: program.source(), aliases, attributes: [] };
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

function valueOf(result) {
  if (result.tag === 'err') throw result.val;
  return result.val;
}
